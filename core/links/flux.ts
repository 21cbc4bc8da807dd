import { formatMicros } from '../timestamp.js';
import type { Policy } from '../verdict/policy.js';
import { actorOf } from '../verdict/policy-match.js';
import { type LinkEvidence, type OverrideSetter, trustedSyncs } from './evidence.js';
import type { Link, NonGitInput, Subject } from './link.js';
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
    const { nonGit, hazards } = overridesIn(sync, evidence.policy, evidence.fluxOverridesBy);
    if (sync.phase === 'failed') hazards.push('the attempt failed, in its health checks or before');
    return {
      rule: 'flux',
      strength: 'strong',
      sources: sync.sources,
      syncID: sync.id,
      initiator: { automated: true },
      ...(nonGit.length > 0 && { nonGit }),
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
 * What a Kustomization itself changes of the files: as good as git where a controller brought it from there, out of band
 * where somebody set it. One whose setter is older than the ledger is put back by its own Kustomization again and again.
 */
function overridesIn(
  sync: Sync,
  policy: Policy,
  setter: OverrideSetter | undefined,
): { nonGit: NonGitInput[]; hazards: string[] } {
  if (setter && !isGitopsController(policy, setter.username)) {
    const detail = `${setter.username} set ${setter.settings} on the Kustomization (change ${setter.changeID})`;
    return { nonGit: [{ kind: 'overrides', detail }], hazards: [] };
  }
  const settings = overridesOfSync(sync).join(', ');
  if (settings === '') return { nonGit: [], hazards: [] };
  const whose = setter
    ? `the Kustomization, itself from git, sets ${settings}`
    : `the Kustomization sets ${settings}; who did that is not recorded`;
  return { nonGit: [], hazards: [whose] };
}

/** The settings by which a Kustomization changed the files that it built. */
export function overridesOfSync({ sources }: Pick<Sync, 'sources'>): string[] {
  return sources.flatMap(({ reading }) => reading?.settings ?? []);
}

/** Whether an account is one of a controller that brings what it writes from git. */
export function isGitopsController(policy: Policy, username: string): boolean {
  const kind = actorOf(policy, { username })?.kind;
  return kind === 'argocd' || kind === 'flux';
}

/**
 * Rule 5: the object bears the labels of a HelmRelease and helm-controller wrote it. Strong to chart and values; the
 * commit is that of the Kustomization which brought the HelmRelease, and that of the chart where it lies in git.
 */
export function linksByHelmRelease(subject: Subject, evidence: LinkEvidence): Link[] {
  if (actorOf(evidence.policy, subject.user)?.kind !== 'helm_controller') return [];
  const release = evidence.helmRelease;
  if (!release) return [];
  const { trusted } = trustedSyncs(evidence.policy, release.parent);
  const { chart, changedBy, valuesFrom } = release;
  const byHand: NonGitInput[] = isGitopsController(evidence.policy, changedBy.username)
    ? []
    : [
        {
          kind: 'overrides',
          detail: `${changedBy.username} changed the HelmRelease (change ${changedBy.changeID})`,
        },
      ];
  return inForce(trusted, release.changedAt).map((sync): Link => {
    const overrides = overridesIn(sync, evidence.policy, release.parentOverridesBy);
    const nonGit = [...byHand, ...overrides.nonGit];
    const external = release.sourceKind !== undefined && release.sourceKind !== 'GitRepository';
    return {
      rule: 'helm_release',
      strength: 'strong',
      // A chart in git changes without its HelmRelease: its commits are asked for too.
      sources: [...sync.sources, ...(release.chartSource ? [release.chartSource] : [])],
      syncID: sync.id,
      initiator: { automated: true },
      ...(nonGit.length > 0 && { nonGit }),
      evidence: [
        {
          kind: 'release',
          ref: `${release.key.namespace}/${release.key.name}`,
          detail: `HelmRelease of chart ${chart ? `${chart.name} ${chart.version}${chart.ociDigest ? ` (${chart.ociDigest})` : ''}` : 'unknown'}, values ${release.configDigest ?? 'unknown'}, last changed ${formatMicros(release.changedAt)}`,
        },
        { kind: 'sync', ref: sync.changeID, detail: `its Kustomization was at ${revisionKey(sync.sources)}` },
      ],
      hazards: [
        ...overrides.hazards,
        ...(external ? [`the chart comes from a ${release.sourceKind}, outside of the commit`] : []),
        ...(valuesFrom.length > 0 ? [`values come from ${valuesFrom.join(', ')} too`] : []),
      ],
    };
  });
}
