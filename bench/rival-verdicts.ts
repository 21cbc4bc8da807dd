import type { Pool } from 'pg';
import { STEP_SECONDS } from './fill.js';

/** What controllers do is judged too: two thirds of all verdicts, and none that anyone asks for. */
const JUDGED = `verdict is not null and verdict <> 'system'`;

/**
 * Gives the copies of changes the verdicts that those have which were sent, without those of controllers and without what is
 * told of a root. Copies that have theirs keep them.
 * @param copies how many there are beside what was sent
 */
export async function fillVerdicts(pool: Pool, copies: number, say: (text: string) => void): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('begin');
    const { rows } = await client.query<{ filled: boolean }>(
      `select exists (select from current_verdicts
                       where cluster_id = 1 and at >= (select min(at) from changes where cluster_id = 1) + interval '${STEP_SECONDS} seconds') as filled`,
    );
    if (!rows[0]!.filled) {
      await client.query(
        `create temp table base_current on commit drop as select * from current_verdicts where ${JUDGED}`,
      );
      await client.query(
        `create temp table base_verdicts on commit drop as select * from verdicts where ${JUDGED}`,
      );
      // A copy's change has the time and the object of its original's, and an id that only those who made it know.
      const copied = (base: string) =>
        `from ${base} v cross join lateral (
           select at, change_id from changes
            where cluster_id = v.cluster_id and at = v.at + $1 * interval '${STEP_SECONDS} seconds' and object_id = v.object_id) c`;
      for (let copy = 1; copy <= copies; copy++) {
        await client.query(
          `insert into current_verdicts (cluster_id, at, change_id, namespace, object_id, verdict, reason, environment, policy_digest,
                                         evaluated_at, digest, final, application, link_due)
           select v.cluster_id, c.at, c.change_id, v.namespace, v.object_id, v.verdict, v.reason, v.environment, v.policy_digest,
                  v.evaluated_at, v.digest, v.final, v.application, false ${copied('base_current')}
           on conflict do nothing`,
          [copy],
        );
        await client.query(
          `insert into verdicts (cluster_id, at, change_id, evaluated_at, verdict, reason, detail, environment, policy_digest, final,
                                 document, digest)
           select v.cluster_id, c.at, c.change_id, v.evaluated_at, v.verdict, v.reason, v.detail, v.environment, v.policy_digest,
                  v.final, v.document, v.digest
             ${copied('(select b.*, r.object_id from base_verdicts b join base_current r using (cluster_id, at, change_id))')}`,
          [copy],
        );
        if (copy % 10 === 0 || copy === copies) say(`verdicts: copy ${copy} of ${copies}`);
      }
    }
    await client.query('commit');
    await client.query('vacuum analyze current_verdicts, verdicts');
  } finally {
    client.release(true);
  }
}
