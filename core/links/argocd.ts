import { formatMicros } from '../timestamp.js';
import { actorOf } from '../verdict/policy-match.js';
import { type ApplicationRecord, type LinkEvidence, trustedSyncs } from './evidence.js';
import type { Link, Subject } from './link.js';
import { revisionKey, type Sync } from './sync.js';
import { trackingsOf } from './tracking.js';

/** Argo CD's times are of whole seconds, and clocks of a controller and an apiserver differ a little. */
const TOLERANCE = 2 * 1e6;

/**
 * Rule 2: the Application's record of a sync lists the object, the change lies within the sync, and both the change and
 * the record are the controller's. Exact, but for overlapping syncs of other revisions: those are ambiguous.
 */
export function linksByArgocd(subject: Subject, evidence: LinkEvidence): Link[] {
  if (actorOf(evidence.policy, subject.user)?.kind !== 'argocd') return [];
  const tracking = trackingsOf(subject).find(({ engine }) => engine === 'argocd');
  if (!tracking?.own) return [];
  return evidence.argocd.flatMap((application) => {
    const { trusted } = trustedSyncs(evidence.policy, application.syncs);
    return trusted
      .filter((sync) => !sync.dryRun && covers(sync, trusted, subject.at) && lists(sync, subject))
      .map((sync) => linkOf(subject, application, sync, tracking.by, evidence));
  });
}

/** Whether a sync went on at a time; one that was never seen to end goes on until the next begins. */
function covers(sync: Sync, all: readonly Sync[], at: number): boolean {
  if (at < sync.startedAt - TOLERANCE) return false;
  if (sync.finishedAt !== undefined) return at <= sync.finishedAt + TOLERANCE;
  const next = Math.min(
    ...all.filter((other) => other.startedAt > sync.startedAt).map((other) => other.startedAt),
  );
  return at < next;
}

/** A sync that goes on hasn't listed all of its objects yet. */
function lists(sync: Sync, subject: Subject): boolean {
  if (!sync.objects) return false;
  const { apiGroup, namespace, name } = subject.key;
  return sync.objects.some(
    (object) =>
      object.group === apiGroup &&
      object.name === name &&
      (namespace === '' || object.namespace === namespace || object.namespace === '') &&
      (subject.objectKind === undefined || object.kind === subject.objectKind),
  );
}

function linkOf(
  subject: Subject,
  application: ApplicationRecord,
  sync: Sync,
  by: 'annotation' | 'label',
  evidence: LinkEvidence,
): Link {
  const name = `${application.key.namespace}/${application.key.name}`;
  const hazards: string[] = [];
  if (by === 'label') hazards.push('the object is tracked by a label, which others may set');
  if (application.cluster !== subject.cluster)
    hazards.push(`the Application is in cluster ${application.cluster}`);
  const nonGit = sync.nonGit.filter((input) => input.kind !== 'overrides');
  const overrides = sync.nonGit.filter((input) => input.kind === 'overrides');
  let doubt: string | undefined;
  if (overrides.length > 0) {
    const setter = application.overridesBy;
    const kind = setter && actorOf(evidence.policy, { username: setter.username })?.kind;
    const settings = overrides.map(({ detail }) => detail).join(', ');
    if (!setter) doubt = `the Application sets ${settings}, and who set that is not recorded`;
    else if (kind === 'argocd' || kind === 'flux')
      hazards.push(`the Application, itself from git, sets ${settings}`);
    else
      nonGit.push({
        kind: 'overrides',
        detail: `${setter.username} set ${settings} on the Application (change ${setter.changeID})`,
      });
  }
  return {
    rule: 'argocd',
    strength: 'exact',
    sources: sync.sources,
    syncID: sync.id,
    ...(sync.initiator && { initiator: sync.initiator }),
    ...(nonGit.length > 0 && { nonGit }),
    ...(doubt !== undefined && { doubt }),
    evidence: [
      {
        kind: 'sync',
        ref: sync.changeID,
        detail: `Application ${name} synced ${revisionKey(sync.sources).replaceAll('\n', '; ')} from ${formatMicros(sync.startedAt)}${sync.finishedAt === undefined ? '' : ` to ${formatMicros(sync.finishedAt)}`}; operation ${sync.operationDigest.slice(0, 12)}`,
      },
    ],
    hazards,
  };
}
