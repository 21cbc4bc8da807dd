import { CompiledQuery, type Kysely } from 'kysely';
import type { Json, JsonObject } from '../../core/audit-event.js';
import { readBodies, type StoredBody } from '../body-packs.js';
import type { Database } from '../schema.js';

/** Bodies by their digests in hex. A digest whose body was erased, never stored, or altered since, is left out. */
export async function findBodies(
  db: Kysely<Database>,
  clusterID: number,
  digests: Array<Buffer | null>,
): Promise<Map<string, Json>> {
  const wanted = digests.filter((digest) => digest !== null);
  if (wanted.length === 0) return new Map();
  const texts = await readBodies(
    (text, values) => db.executeQuery<StoredBody>(CompiledQuery.raw(text, values)),
    clusterID,
    wanted,
  );
  const bodies = new Map<string, Json>();
  for (const [digest, text] of texts) if (text !== undefined) bodies.set(digest, JSON.parse(text) as Json);
  return bodies;
}

export function objectIn(bodies: ReadonlyMap<string, Json>, digest: Buffer | null): JsonObject | undefined {
  const body = digest ? bodies.get(digest.toString('hex')) : undefined;
  return typeof body === 'object' && body !== null && !Array.isArray(body) ? body : undefined;
}
