import { expect, it } from 'vitest';
import { Graphs } from '../../store/verdicts/repositories.js';
import { createTestDatabase } from '../harness/database.js';

/** More than are read at once. */
const COMMITS = 45_000;

it('gives everybody who asks at once the whole graph, and what came since', async () => {
  const { pool, drop } = await createTestDatabase();
  const { rows } = await pool.query<{ id: number }>(
    `insert into repos (name, url) values ('shop', 'https://git.example.com/shop.git') returning id`,
  );
  const { id } = rows[0]!;
  const sha = (n: string) => `lpad(to_hex(${n}), 40, '0')`;
  const index = (from: number, to: number) =>
    pool.query(
      `insert into commits (repo_id, sha, tree, parents, author_name, author_email, authored_at, committer_name, committer_email,
                            committed_at, signature, subject, message, changed_paths, indexed_at)
       select ${id}, ${sha('n')}, '', case n when 1 then '{}' else array[${sha('n - 1')}] end, '', '', now(), '', '', now(),
              'none', '', '', '{}', now()
         from generate_series(${from}, ${to}) n`,
    );
  await index(1, COMMITS);
  const graphs = new Graphs();
  const clients = await Promise.all([1, 2, 3].map(() => pool.connect()));
  const whole = await Promise.all(clients.map((client) => graphs.of(client, id)));
  const named = (n: number) => n.toString(16).padStart(40, '0');
  for (const graph of whole) {
    expect(graph.size).toBe(COMMITS);
    expect(graph.range(named(1), named(COMMITS))).toHaveLength(COMMITS - 1);
  }
  await index(COMMITS + 1, COMMITS + 10);
  const later = await Promise.all(clients.map((client) => graphs.of(client, id)));
  for (const graph of later) expect(graph.range(named(COMMITS), named(COMMITS + 10))).toHaveLength(10);
  for (const client of clients) client.release();
  await drop();
});
