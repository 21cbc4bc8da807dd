import type { Kysely } from 'kysely';
import type { Pool } from 'pg';
import { WhochangedError } from '../../core/errors.js';
import { type Control, classesOf } from '../../core/report/controls.js';
import type { ReportGap } from '../../core/report/gap.js';
import { MAX_GAPS, type Report, type ReportCompleteness, ReportGathering } from '../../core/report/report.js';
import { countUnread } from '../archive/find-reached.js';
import type { Database } from '../schema.js';
import { findClusters } from './change-filter.js';
import { findListCompleteness } from './completeness.js';
import { findGaps } from './gaps.js';
import { type PopulationScope, populationOf } from './report-population.js';

/** What a report is asked for. Times are RFC 3339, half-open. */
export interface ReportQuestion extends PopulationScope {
  control: Control;
  /** Of the sample; default: the control and the period. */
  seed?: string | undefined;
  sampleSize?: number | undefined;
}

const SAMPLE_SIZE = 25;

/** @throws WhochangedError `invalid_request`, or `not_found` for a cluster that there is not */
export async function checkQuestion(
  db: Kysely<Database>,
  { control, clusters, environments, since, until }: ReportQuestion,
): Promise<Array<{ id: number; name: string }>> {
  if (since >= until)
    throw new WhochangedError('invalid_request', 'since: it is not before until', {
      hint: 'the period begins at since and ends before until',
    });
  if (environments.length > 0 && control.population !== 'changes')
    throw new WhochangedError('invalid_request', `environment: ${control.id} is not about environments`, {
      hint: 'leave it out, or choose clusters',
    });
  if (clusters.length > 0 && ['ledger_access', 'protection'].includes(control.population))
    throw new WhochangedError('invalid_request', `cluster: ${control.id} is about the ledger as a whole`, {
      hint: 'leave it out',
    });
  const known = await findClusters(db, clusters.length > 0 ? clusters : undefined);
  const missing = clusters.find((name) => !known.some((cluster) => cluster.name === name));
  if (missing !== undefined)
    throw new WhochangedError('not_found', `no cluster is called "${missing.slice(0, 60)}"`, {
      hint: 'whochanged source list shows them',
    });
  return known;
}

/**
 * Reads the population and gathers a report of it, from what is in the database: what of the period lies in the archive is
 * to be loaded before, and makes the report incomplete where it was not.
 * @throws WhochangedError as checkQuestion
 */
export async function makeReport(
  { db, pool }: { db: Kysely<Database>; pool: Pick<Pool, 'connect' | 'query'> },
  question: ReportQuestion,
): Promise<Report> {
  const known = await checkQuestion(db, question);
  const { control, clusters, environments, since, until } = question;
  const gathering = new ReportGathering({
    seed: question.seed ?? `${control.id} ${since} ${until}`,
    sampleSize: question.sampleSize ?? SAMPLE_SIZE,
  });
  const ids = known.map(({ id }) => id);
  const reach = { clusterIDs: ids, since, until, classes: classesOf(control.population) };
  // Asked before the population is read: of what comes in meanwhile, and is proven later, the population may lack some.
  const listed = await findListCompleteness(db, ids, since, until);
  const unreadBefore = await countUnread(pool, reach);
  const population = populationOf(control.population, { clusters, environments, since, until });
  for await (const { row, what, policy } of population.rows(pool, db)) gathering.add(row, what, policy);
  // And after: what was dropped meanwhile may have been missed too.
  const unread = Math.max(unreadBefore, await countUnread(pool, reach));
  const completeness: ReportCompleteness =
    unread > 0 ? { verdict: 'incomplete', gaps: listed.gaps, unread } : listed;
  const gaps = completeness.gaps > 0 ? await gapsOf(db, ids, since, until) : [];
  const scope = { control, environments, clusters, since, until };
  return gathering.finish(scope, population.query, completeness, gaps);
}

async function gapsOf(
  db: Kysely<Database>,
  clusterIDs: number[],
  since: string,
  until: string,
): Promise<ReportGap[]> {
  const { items } = await findGaps(db, { clusterIDs, state: 'open', since, until }, undefined, MAX_GAPS);
  return items.map(({ id, cluster, source, cause, since: from, until: to, missing }) => ({
    id,
    cluster,
    source,
    cause,
    since: from,
    until: to,
    ...(missing !== null && { missing: Number(missing) }),
  }));
}
