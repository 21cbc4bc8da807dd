import type { ClientBase } from 'pg';
import type { Autoscaler, RecordedChange } from '../core/attribution/attribution.js';
import type { JsonObject } from '../core/audit-event.js';
import { isJsonObject } from '../core/classify.js';
import type { BodyCache } from './body-cache.js';
import { bodyOf, findHistories } from './recorded-changes.js';
import { findHeads } from './versions.js';

/** Autoscalers of the namespaces where these changes scaled something, with their changes up to a time, by namespace. */
export async function findAutoscalers(
  client: ClientBase,
  clusterID: number,
  scaled: readonly RecordedChange[],
  until: number,
  bodyCache: BodyCache,
): Promise<Map<string, Autoscaler[]>> {
  const found = new Map<string, Autoscaler[]>();
  if (scaled.length === 0) return found;
  const { rows } = await client.query<{
    id: string;
    api_group: string;
    resource: string;
    namespace: string;
    name: string;
  }>({
    name: 'autoscalers',
    text: `select id, api_group, resource, namespace, name from objects
            where cluster_id = $1 and namespace = any($2::text[]) and resource = 'horizontalpodautoscalers' and name <> ''`,
    values: [clusterID, [...new Set(scaled.map((subject) => subject.key.namespace))]],
  });
  const ids = rows.map((row) => row.id);
  const heads = await findHeads(client, clusterID, ids);
  const bodies = await bodyCache.load(
    client,
    clusterID,
    [...heads.values()].flatMap((head) => (head.after_digest ? [head.after_digest.toString('hex')] : [])),
  );
  const histories = await findHistories(
    client,
    clusterID,
    ids.map((objectID) => ({ objectID, until })),
  );
  for (const row of rows) {
    const head = heads.get(row.id);
    const target = targetOf(bodyOf(bodies, head?.after_digest ?? null));
    if (!head || !target) continue;
    const scaler: Autoscaler = {
      objectID: row.id,
      key: { apiGroup: row.api_group, resource: row.resource, namespace: row.namespace, name: row.name },
      uid: head.uid ?? undefined,
      target,
      changes: histories.get(row.id) ?? [],
    };
    const own = found.get(row.namespace);
    if (own) own.push(scaler);
    else found.set(row.namespace, [scaler]);
  }
  return found;
}

function targetOf(autoscaler: JsonObject | undefined): Autoscaler['target'] | undefined {
  const spec = autoscaler?.spec;
  const target = isJsonObject(spec) ? spec.scaleTargetRef : undefined;
  if (!isJsonObject(target) || typeof target.kind !== 'string' || typeof target.name !== 'string')
    return undefined;
  return { kind: target.kind, name: target.name };
}
