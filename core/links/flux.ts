import { formatMicros } from '../timestamp.js';
import { actorOf } from '../verdict/policy-match.js';
import { type LinkEvidence, trustedSyncs } from './evidence.js';
import type { Link, Subject } from './link.js';
import { revisionKey, type Sync } from './sync.js';
import { trackingsOf } from './tracking.js';

/** Two revisions attempted this near to a change can't be told apart by their times, in microseconds. */
export const CLOCK_TOLERANCE = 2 * 1e6;

/** The attempts that may have been in force at a time: one, or more where they change right then. */
export function inForce(syncs: readonly Sync[], at: number): Sync[] {
  const ordered = [...syncs].sort((a, b) => a.startedAt - b.startedAt);
  const current = ordered.filter((sync) => sync.startedAt <= at).at(-1);
  const near = ordered.filter((sync) => sync !== current && Math.abs(sync.startedAt - at) <= CLOCK_TOLERANCE);
  // One that began right before the change, the one before it being long under way, is no doubt: it is noted first.
  return current ? [current, ...near.filter((sync) => sync.startedAt > at)] : near;
}

/**
 * Rule 4: the object bears the labels of a Kustomization, kustomize-controller wrote it, and the Kustomization's status
 * tells the revision attempted at that time. Strong: the status is noted beside the writes, not with each.
 */
export function linksByFlux(subject: Subject, evidence: LinkEvidence): Link[] {
  if (actorOf(evidence.policy, subject.user)?.kind !== 'flux') return [];
  const tracking = trackingsOf(subject).find(({ engine }) => engine === 'flux');
  if (!tracking) return [];
  const { trusted } = trustedSyncs(evidence.policy, evidence.flux);
  return inForce(trusted, subject.at).map((sync): Link => {
    const hazards: string[] = [];
    if (sync.phase === 'failed') hazards.push('the attempt failed, in its health checks or before');
    return {
      rule: 'flux',
      strength: 'strong',
      sources: sync.sources,
      syncID: sync.id,
      initiator: { automated: true },
      evidence: [
        {
          kind: 'sync',
          ref: sync.changeID,
          detail: `Kustomization ${tracking.namespace}/${tracking.name} attempted ${revisionKey(sync.sources)} from ${formatMicros(sync.startedAt)}`,
        },
      ],
      hazards,
    };
  });
}

/**
 * Rule 5: the object bears the labels of a HelmRelease and helm-controller wrote it. Strong to chart and values; the
 * commit is that of the Kustomization which brought the HelmRelease.
 */
export function linksByHelmRelease(subject: Subject, evidence: LinkEvidence): Link[] {
  if (actorOf(evidence.policy, subject.user)?.kind !== 'helm_controller') return [];
  const release = evidence.helmRelease;
  if (!release) return [];
  const { trusted } = trustedSyncs(evidence.policy, release.parent);
  const { chart } = release;
  return inForce(trusted, release.changedAt).map((sync): Link => {
    const external = release.sourceKind !== undefined && release.sourceKind !== 'GitRepository';
    return {
      rule: 'helm_release',
      strength: 'strong',
      sources: sync.sources,
      syncID: sync.id,
      initiator: { automated: true },
      evidence: [
        {
          kind: 'release',
          ref: `${release.key.namespace}/${release.key.name}`,
          detail: `HelmRelease of chart ${chart ? `${chart.name} ${chart.version}${chart.ociDigest ? ` (${chart.ociDigest})` : ''}` : 'unknown'}, values ${release.configDigest ?? 'unknown'}, last changed ${formatMicros(release.changedAt)}`,
        },
        { kind: 'sync', ref: sync.changeID, detail: `its Kustomization was at ${revisionKey(sync.sources)}` },
      ],
      hazards: external ? [`the chart comes from a ${release.sourceKind}, outside of the commit`] : [],
    };
  });
}
