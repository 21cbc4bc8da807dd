import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg, { type Pool } from 'pg';

const LOCK_KEY = 7_231_000;

/** The migrations folder: beside this file's folder in the source, one further up from dist/. */
export function migrationsFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'migrations'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error('the migrations folder is missing from this installation');
    folder = parent;
  }
  return join(folder, 'migrations');
}

/**
 * Applies the numbered .sql files that the database doesn't have, in order, each in a transaction (unless its first
 * line is `-- no-transaction`). Replicas that start together wait for each other.
 * @returns the names of those applied
 * @throws Error `migration ...` when an applied file has changed since, two have one number, or a file fails: of one in
 *   a transaction nothing stays then
 */
export async function migrate(pool: Pool, folder: string = migrationsFolder()): Promise<string[]> {
  const client = await pool.connect();
  try {
    await client.query('select pg_advisory_lock($1)', [LOCK_KEY]);
    await client.query(
      `create table if not exists schema_migrations (
         name text primary key, sha256 text not null, applied_at timestamptz not null default now())`,
    );
    const { rows } = await client.query<{ name: string; sha256: string }>(
      'select name, sha256 from schema_migrations',
    );
    const applied = new Map(rows.map((row) => [row.name, row.sha256]));
    const files = (await readdir(folder)).filter((name) => /^\d{3}-.*\.sql$/.test(name)).sort();
    for (const [index, name] of files.entries()) {
      const before = files[index - 1];
      if (before?.slice(0, 3) === name.slice(0, 3))
        throw new Error(`migration ${name} has the number of ${before}; give it the next free one`);
    }
    const done: string[] = [];
    for (const name of files) {
      const sql = await readFile(join(folder, name), 'utf8');
      const sha256 = createHash('sha256').update(sql).digest('hex');
      const known = applied.get(name);
      if (known === sha256) continue;
      if (known !== undefined)
        throw new Error(`migration ${name} was changed after it was applied; put it back and add a new one`);
      const transactional = !sql.startsWith('-- no-transaction');
      try {
        if (transactional) await client.query('begin');
        await client.query(sql);
        await client.query('insert into schema_migrations (name, sha256) values ($1, $2)', [name, sha256]);
        if (transactional) await client.query('commit');
      } catch (error) {
        if (transactional) await client.query('rollback').catch(() => undefined);
        // Postgres went away: that says nothing about the file.
        if (!(error instanceof pg.DatabaseError) || /^(08|57P)/.test(error.code ?? '')) throw error;
        const advice = transactional
          ? ''
          : '; it runs without a transaction, so look at what of it is there before the next start';
        throw new Error(`migration ${name} failed: ${error.message}${advice}`, { cause: error });
      }
      done.push(name);
    }
    return done;
  } finally {
    await client.query('select pg_advisory_unlock($1)', [LOCK_KEY]).catch(() => undefined);
    client.release();
  }
}
