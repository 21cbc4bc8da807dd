import type { ClientBase } from 'pg';
import { type AdmissionMutation, readMutations } from '../../core/manifest/admission.js';
import { formatMicros } from '../../core/timestamp.js';
import type { ChangeKey } from './subjects.js';

/** The webhooks that changed the requests of changes, as their events tell; by change id, those without left out. */
export async function findMutations(
  client: ClientBase,
  clusterID: number,
  keys: readonly ChangeKey[],
): Promise<Map<string, AdmissionMutation[]>> {
  const found = new Map<string, AdmissionMutation[]>();
  if (keys.length === 0) return found;
  const { rows } = await client.query<{ request_id: string; annotations: Record<string, string> }>({
    name: 'admission-mutations',
    text: `select q.id as request_id, e.annotations
             from unnest($2::timestamptz[], $3::uuid[]) as q (at, id)
            cross join lateral (
              select annotations from events
               where cluster_id = $1 and at = q.at and request_id = q.id and annotations is not null and stage <> 'RequestReceived'
               limit 1) e`,
    values: [clusterID, keys.map(({ at }) => formatMicros(at)), keys.map(({ changeID }) => changeID)],
  });
  for (const { request_id: id, annotations } of rows) {
    const mutations = readMutations(annotations);
    if (mutations.length > 0) found.set(id, mutations);
  }
  return found;
}
