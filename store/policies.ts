import type { ClientBase, Pool } from 'pg';
import type { PolicyVersion } from '../core/verdict/policy.js';

type Db = Pool | ClientBase;

/** A policy with the file that it was read from; the built-in one has none. */
export interface LoadedPolicy extends PolicyVersion {
  text: string | undefined;
}

/** Keeps a policy that verdicts are about to name. */
export async function recordPolicy(db: Db, loaded: LoadedPolicy): Promise<void> {
  await db.query(
    `insert into policies (digest, version, name, document, text) values ($1, $2, $3, $4, $5)
     on conflict (digest) do nothing`,
    [loaded.digest, loaded.version, loaded.policy.name, JSON.stringify(loaded.policy), loaded.text ?? null],
  );
}

export interface RecordedPolicy {
  digest: string;
  version: string;
  name: string;
  document: unknown;
  text: string | null;
  firstUsedAt: string;
}

/** Every policy that verdicts were made by, the latest first. */
export async function findPolicies(db: Db): Promise<RecordedPolicy[]> {
  const { rows } = await db.query<RecordedPolicy>(
    `select digest, version, name, document, text, first_used_at as "firstUsedAt" from policies order by first_used_at desc, digest`,
  );
  return rows;
}
