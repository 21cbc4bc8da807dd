import type { ClientBase } from 'pg';
import { attribute, needsAttribution } from '../core/attribution/attribute.js';
import type { Attribution, Case } from '../core/attribution/attribution.js';
import {
  findChangesAfter,
  findClusterIDs,
  findRetries,
  findTouched,
  moveCursor,
  readCursor,
  upsertAttributions,
} from '../store/attribution.js';
import { gatherCases } from '../store/attribution-evidence.js';
import type { BodyCache } from '../store/body-cache.js';
import { type RecordedRow, recordedChange } from '../store/recorded-changes.js';
import { openJobBodies } from './body-cache.js';
import type { Job, JobContext, JobLog } from './job.js';

/** Changes looked at per transaction. */
const BATCH = 1000;
/** Old attributions looked at again per run; the rest waits for the next one. */
const MAX_RETRIES = 500;

const NAME = 'attribute';

/**
 * Traces new changes by controllers to their root and to what set them off. Each cluster's cursor on `seq` moves with
 * the attributions in one transaction, so that a run may break off anywhere.
 */
export function attributeJob(bodyCache: BodyCache = openJobBodies()): Job {
  return {
    name: NAME,
    schedule: '*/2 * * * * *',
    forAnyCluster: true,
    async runOnce(context) {
      let rows = 0;
      for (const clusterID of await findClusterIDs(context.client)) {
        rows += await attributeNew(context, clusterID, bodyCache);
        if (context.signal.aborted) break;
        rows += await attributeAgain(context, clusterID, bodyCache);
      }
      return { rows };
    },
  };
}

async function attributeNew(context: JobContext, clusterID: number, bodyCache: BodyCache): Promise<number> {
  const { client } = context;
  let done = 0;
  let cursor = await readCursor(client, NAME, clusterID);
  while (!context.signal.aborted) {
    const { rows, last } = await findChangesAfter(client, clusterID, cursor, BATCH);
    if (last === undefined) break;
    const now = context.now();
    const subjects = rows.filter((row) => needsAttribution(recordedChange(row)));
    const touched = await findTouched(client, clusterID, rows, now, MAX_RETRIES);
    const decided = await decide(client, clusterID, [...subjects, ...touched], bodyCache, context.log);
    await client.query('begin');
    try {
      await upsertAttributions(client, clusterID, decided, now);
      await moveCursor(client, NAME, clusterID, last);
      await client.query('commit');
    } catch (error) {
      await client.query('rollback');
      throw error;
    }
    cursor = last;
    done += decided.length;
  }
  return done;
}

/** What was unresolved gets another look while late evidence may come. */
async function attributeAgain(context: JobContext, clusterID: number, bodyCache: BodyCache): Promise<number> {
  const { client } = context;
  const now = context.now();
  const rows = await findRetries(client, clusterID, now, MAX_RETRIES);
  const decided = await decide(client, clusterID, rows, bodyCache, context.log);
  await upsertAttributions(client, clusterID, decided, now);
  return decided.length;
}

interface Decided {
  changeID: string;
  at: number;
  attribution: Attribution;
}

async function decide(
  client: ClientBase,
  clusterID: number,
  rows: RecordedRow[],
  bodyCache: BodyCache,
  log: JobLog,
): Promise<Decided[]> {
  if (rows.length === 0) return [];
  const known = new Map<string, Attribution>();
  const cases = await gatherCases(client, clusterID, rows, bodyCache, known);
  cases.sort(byOrder);
  for (const { subject } of cases) known.delete(subject.changeID);
  return cases.map((c) => {
    const attribution = attributeSafely(c, log);
    known.set(c.subject.changeID, attribution);
    return { changeID: c.subject.changeID, at: c.subject.at, attribution };
  });
}

/** A cause is decided before its effects, a collection before its items. */
function byOrder({ subject: a }: Case, { subject: b }: Case): number {
  if (a.at !== b.at) return a.at - b.at;
  return Number(b.kind === 'delete_collection') - Number(a.kind === 'delete_collection');
}

/** One change that defeats the rules must not hold up all that come after it. */
function attributeSafely(c: Case, log: JobLog): Attribution {
  try {
    return attribute(c);
  } catch (error) {
    log.error({ err: error, changeID: c.subject.changeID }, 'a change could not be attributed');
    return {
      state: 'unresolved',
      rule: 'own_object',
      reason: 'an internal error kept it from being traced; the log of whochanged tells more',
      evidence: { path: [] },
    };
  }
}
