import type { Pool } from 'pg';
import { decodeContent } from '../../store/body-encoding.js';

/** Everything that a database holds, as text: every row of every table, bodies unpacked. */
export async function dumpDatabase(pool: Pool): Promise<string> {
  const { rows: tables } = await pool.query<{ name: string }>(
    `select quote_ident(relname) as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'`,
  );
  const texts: string[] = [];
  for (const { name } of tables) {
    if (name === 'bodies' || name === 'body_packs') continue;
    const { rows } = await pool.query<{ text: string | null }>(
      `select string_agg(t::text, E'\\n') as text from ${name} t`,
    );
    texts.push(rows[0]?.text ?? '');
  }
  const bodies = await pool.query<{ encoding: number; content: Buffer }>(
    `select encoding, content from bodies where content is not null
     union all select encoding, content from body_packs`,
  );
  for (const { encoding, content } of bodies.rows)
    texts.push((await decodeContent(encoding, content)).toString('utf8'));
  return texts.join('\n');
}
