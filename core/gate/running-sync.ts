import { trustedSyncs } from '../links/evidence.js';
import type { Link, Subject } from '../links/link.js';
import { revisionKey, type Sync } from '../links/sync.js';
import type { Policy } from '../verdict/policy.js';
import { actorOf } from '../verdict/policy-match.js';

/**
 * What a GitOps controller is about to write, by its record of the sync that goes on. At admission the result of the sync
 * isn't written yet, so that which objects belong to it is known by their marks only: strong, not exact. Flux notes its
 * attempts after they were made, so for Flux there is rarely one.
 * @param syncs of the application that the object's mark names
 */
export function linksByRunningSync(subject: Subject, policy: Policy, syncs: readonly Sync[]): Link[] {
  const kind = actorOf(policy, subject.user)?.kind;
  if (kind !== 'argocd' && kind !== 'flux') return [];
  return trustedSyncs(policy, syncs)
    .trusted.filter(
      (sync) =>
        sync.engine === kind && !sync.dryRun && sync.phase === 'running' && sync.finishedAt === undefined,
    )
    .filter((sync, _, running) => running.every((other) => other.startedAt <= sync.startedAt))
    .map(
      (sync): Link => ({
        rule: kind,
        strength: 'strong',
        sources: sync.sources,
        syncID: sync.id,
        ...(sync.initiator && { initiator: sync.initiator }),
        ...(sync.nonGit.length > 0 && { nonGit: sync.nonGit }),
        evidence: [
          {
            kind: 'sync',
            ref: sync.changeID,
            detail: `${sync.application.key.namespace}/${sync.application.key.name} syncs ${revisionKey(sync.sources).replaceAll('\n', '; ')}`,
          },
        ],
        hazards: ['the sync goes on: its result, which lists its objects, is not written yet'],
      }),
    );
}
