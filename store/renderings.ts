import type { Pool } from 'pg';
import type { JsonObject } from '../core/audit-event.js';
import { decodeContent, encodeContent } from './body-encoding.js';

/** What was rendered, with what: the same makes the same. */
export interface RenderingKey {
  repoID: number;
  /** The revision's whole tree. */
  tree: string;
  path: string;
  renderer: string;
  redactedBy: string;
}

const KEPT_DAYS = 90;

/** The manifests that were rendered before; undefined: they weren't. */
export async function findRendering(pool: Pool, key: RenderingKey): Promise<JsonObject[] | undefined> {
  const { rows } = await pool.query<{ encoding: number; manifests: Buffer }>({
    name: 'rendering',
    text: `select encoding, manifests from renderings
            where repo_id = $1 and tree = $2 and path = $3 and renderer = $4 and redacted_by = $5`,
    values: [key.repoID, key.tree, key.path, key.renderer, key.redactedBy],
  });
  if (!rows[0]) return undefined;
  const json = await decodeContent(rows[0].encoding, rows[0].manifests);
  return JSON.parse(json.toString('utf8')) as JsonObject[];
}

/** Keeps redacted manifests, and forgets the repository's that are old: those that are asked for are rendered again. */
export async function keepRendering(
  pool: Pool,
  key: RenderingKey,
  manifests: readonly JsonObject[],
): Promise<void> {
  const { encoding, content } = await encodeContent(Buffer.from(JSON.stringify(manifests)));
  await pool.query(
    `with old as (delete from renderings where repo_id = $1 and rendered_at < now() - $8 * interval '1 day')
     insert into renderings (repo_id, tree, path, renderer, redacted_by, encoding, manifests)
     values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing`,
    [key.repoID, key.tree, key.path, key.renderer, key.redactedBy, encoding, content, KEPT_DAYS],
  );
}
