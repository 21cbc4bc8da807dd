import type { Pool } from 'pg';
import type { HostDelivery } from '../../core/hosts/delivery.js';
import { environmentOrigin } from '../../core/hosts/github-webhook.js';
import { inTransaction } from '../transaction.js';
import { appendApprovals } from './approvals.js';
import { findRepoOfHost, markDue, type SyncRepo } from './host-sync.js';
import { upsertPullRequests } from './pull-requests.js';
import { appendPushes } from './pushes.js';

type Client = Parameters<Parameters<typeof inTransaction>[1]>[0];

/** A delivery by its own id; `scope` keeps the ids of different senders apart. */
export interface DeliveryKey {
  scope: string;
  id: string;
  event: string;
}

/** Takes a delivery; false where it came before. */
export async function takeDelivery(
  client: Client,
  key: DeliveryKey,
  named: { action?: string; repoID?: number; number?: number } = {},
): Promise<boolean> {
  const { rowCount } = await client.query(
    `insert into host_deliveries (scope, delivery_id, event, action, repo_id, number)
     values ($1, $2, $3, $4, $5, $6) on conflict (scope, delivery_id) do nothing`,
    [key.scope, key.id, key.event, named.action ?? null, named.repoID ?? null, named.number ?? null],
  );
  return rowCount === 1;
}

/**
 * Writes what a host's delivery tells, once. Everything in it is also safe to tell again under another id: older facts
 * don't set back newer ones, and what is due is fetched from the host itself.
 * @returns `ignored`: no repository of ours is meant, or nothing is told that matters
 */
export async function applyDelivery(
  pool: Pool,
  hostKind: SyncRepo['hostKind'],
  key: DeliveryKey,
  delivery: HostDelivery,
  now: Date,
): Promise<'taken' | 'duplicate' | 'ignored'> {
  return inTransaction(pool, async (client) => {
    const repo = await findRepoOfHost(client, { hostKind, project: delivery.project });
    const number = delivery.due[0]?.number;
    const named = {
      ...(delivery.action !== undefined && { action: delivery.action }),
      ...(repo && { repoID: repo.id }),
      ...(number !== undefined && { number }),
    };
    if (!repo) return 'ignored';
    if (!(await takeDelivery(client, key, named))) return 'duplicate';
    const { push, pullRequest, approvals, due } = delivery;
    if (push) {
      const id = `${push.ref} ${push.before} ${push.after}`;
      await appendPushes(client, repo.id, [{ id, ...push }]);
    }
    if (pullRequest)
      await upsertPullRequests(
        client,
        repo.id,
        [
          {
            pullRequest: pullRequest.head,
            updatedAt: pullRequest.updatedAt,
            landed: [],
            commitsTold: false,
          },
        ],
        now,
      );
    await appendApprovals(
      client,
      approvals.map(({ id, sha, environment, approver, url }) => ({
        id,
        subject: { kind: 'commit' as const, repo: repo.name, sha },
        approver,
        approvedAt: now.getTime() * 1000,
        origin: environmentOrigin(environment),
        ...(url !== undefined && { url }),
      })),
    );
    await markDue(client, repo.id, due);
    return push || due.length > 0 || approvals.length > 0 ? 'taken' : 'ignored';
  });
}
