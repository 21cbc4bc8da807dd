import { createHash, randomBytes } from 'node:crypto';
import { type Kysely, sql } from 'kysely';
import type { ClientBase, Pool } from 'pg';
import type { Grant } from '../core/access/grants.js';
import type { Database } from './schema.js';

/** Tokens are `wc_` and 32 random bytes; the store keeps their SHA-256, which is enough for so much entropy. */
export function newSecret(prefix: 'wc' | 'wcs'): { secret: string; sha256: Buffer } {
  const secret = `${prefix}_${randomBytes(32).toString('base64url')}`;
  return { secret, sha256: createHash('sha256').update(secret).digest() };
}

/** Creates an API token and returns it; it can't be read again. */
export async function createApiToken(
  db: Pool | ClientBase,
  token: { name: string; expiresAt?: string } & Pick<Grant, 'role'> & Partial<Grant>,
): Promise<string> {
  const { secret, sha256 } = newSecret('wc');
  await db.query(
    `insert into api_tokens (name, role, secret_sha256, expires_at, clusters, namespaces)
     values ($1, $2, $3, $4, $5, $6)`,
    [
      token.name,
      token.role,
      sha256,
      token.expiresAt ?? null,
      token.clusters ?? null,
      token.namespaces ?? null,
    ],
  );
  return secret;
}

/** Every token but its secret, newest first. */
export function findApiTokens(db: Kysely<Database>) {
  return db
    .selectFrom('api_tokens')
    .select([
      'id',
      'name',
      'role',
      'clusters',
      'namespaces',
      'created_at',
      'expires_at',
      'revoked_at',
      'last_used_at',
    ])
    .orderBy('id', 'desc')
    .execute();
}

/** Remembers that a token was used now. */
export async function recordTokenUse(db: Kysely<Database>, id: number): Promise<void> {
  await db.updateTable('api_tokens').set({ last_used_at: sql<string>`now()` }).where('id', '=', id).execute();
}

/** When a token was last used, to the minute; null: never. */
export async function findTokenUse(db: Kysely<Database>, id: number): Promise<string | null> {
  const row = await db
    .selectFrom('api_tokens')
    .select('last_used_at')
    .where('id', '=', id)
    .executeTakeFirst();
  return row?.last_used_at ?? null;
}

/** Revokes a token; false where there is no valid one of that id. */
export async function revokeApiToken(db: Kysely<Database>, id: number): Promise<boolean> {
  const result = await db
    .updateTable('api_tokens')
    .set({ revoked_at: new Date().toISOString() })
    .where('id', '=', id)
    .where('revoked_at', 'is', null)
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}
