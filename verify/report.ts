import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AccessEvent } from '../core/access/access-event.js';
import { decodeEvent } from '../core/decode.js';
import { objectKey, requestID } from '../core/identity.js';
import type { Leaf, LeafType } from '../core/log/leaf.js';
import type { VerifierKey } from '../core/log/note.js';
import type { Report, ReportRow } from '../core/report/report.js';
import { formatMicros, parseMicros } from '../core/timestamp.js';
import { verdictText } from '../core/verdict/verdict.js';
import type { VerdictRecord } from '../core/verdict/verdict-record.js';
import { collectionItems, writeOf } from '../core/write.js';
import { verifyProof } from './proof.js';

export interface ReportVerdict {
  rows: number;
  proofs: number;
  /** What does not hold, or can't be told, row by row. */
  problems: string[];
}

type Say = (problem: string) => void;

/**
 * Checks a folder that `whochanged report --proofs` wrote: each row that the report tells has a record in the signed log
 * which says the same of who, when, where and what; and, where the report says a verdict, that verdict is in the log too.
 * What it says beyond that (counts, summaries, completeness) is not in the log.
 * @throws Error where the folder holds no report
 */
export async function verifyReport(folder: string, keys: readonly VerifierKey[]): Promise<ReportVerdict> {
  const report = JSON.parse(await readFile(join(folder, 'report.json'), 'utf8')) as Report;
  const rows = new Map<string, ReportRow>();
  const verdict: ReportVerdict = { rows: 0, proofs: 0, problems: [] };
  for (const row of [...report.exceptions, ...report.sample.rows]) {
    // An exception may be drawn for the sample too, and is the same there.
    const told = rows.get(row.id);
    if (told && JSON.stringify(told) !== JSON.stringify(row))
      verdict.problems.push(`${row.id}: the report tells of it in two ways`);
    else rows.set(row.id, row);
  }
  verdict.rows = rows.size;
  for (const row of rows.values()) {
    const say = (problem: string) => void verdict.problems.push(`${row.id}: ${problem}`);
    const place = join(folder, row.id);
    if (/^access-\d{1,15}$/.test(row.id)) {
      const leaf = await findProven(place, 'access', keys, say);
      if (!leaf) continue;
      verdict.proofs++;
      await compareAccess(join(place, 'access.json'), leaf, row, say);
      continue;
    }
    if (!/^[0-9a-f-]{36}$/.test(row.id)) {
      say('it is no id of a request: the log can\u2019t tell of it');
      continue;
    }
    const event = await findProven(place, 'event', keys, say);
    if (event) {
      verdict.proofs++;
      await compareEvent(join(place, 'event.json'), event, row, say);
    }
    if (row.verdict !== undefined && (await findProven(place, 'verdict', keys, say))) {
      verdict.proofs++;
      await compareVerdict(join(place, 'verdict.json'), row, say);
    }
  }
  return verdict;
}

/** The leaf of a record whose proof holds. */
async function findProven(
  place: string,
  type: LeafType,
  keys: readonly VerifierKey[],
  say: Say,
): Promise<Leaf | undefined> {
  const [proof, record] = [join(place, `${type}.tlog-proof`), join(place, `${type}.json`)];
  if (!(await exists(proof))) {
    say(`there is no proof of its ${type}`);
    return undefined;
  }
  if (!(await exists(record))) {
    say(`its ${type} is proven, and not told: what it said can't be compared`);
    return undefined;
  }
  const result = await verifyProof(proof, keys, record);
  if (!result.ok) say(`${type}: ${result.lines.at(-1)}`);
  else if (result.leaf?.type !== type) say(`the proof is of another kind of record than its ${type}`);
  else return result.leaf;
  return undefined;
}

/** Says where the report differs from what is proven. */
function compare(report: ReportRow, proven: Partial<ReportRow>, what: string, say: Say): void {
  for (const [key, value] of Object.entries(proven) as Array<[keyof ReportRow, string]>)
    if (report[key] !== value)
      say(`the report says ${report[key] || 'nothing'}, the ${what} ${value || 'nothing'}`);
}

async function compareEvent(path: string, leaf: Leaf, row: ReportRow, say: Say): Promise<void> {
  const event = decodeEvent(JSON.parse(await readFile(path, 'utf8')));
  const write = writeOf(event, requestID(event), 'change');
  const item = collectionItems(write)?.find(({ changeID }) => changeID === row.id);
  if (!item && write.changeID !== row.id) return say('the event is of another change');
  // Where a request changed nothing, its object is told as it was asked for.
  const told = [item?.key ?? write.key, ...(item ? [] : [objectKey(event.objectRef ?? {})])];
  const { resource, name, namespace } =
    told.find((key) => row.namespace === key.namespace && row.object === objectText(key)) ?? told[0]!;
  compare(
    { ...row, at: timeOf(row) },
    {
      at: formatMicros(event.requestReceivedTimestamp),
      cluster: leaf.cluster,
      namespace,
      object: objectText({ resource, name }),
      actor: event.impersonatedUser?.username ?? event.user.username,
    },
    'event',
    say,
  );
}

function objectText({ resource, name }: { resource: string; name: string }): string {
  return [resource, name].filter((part) => part !== '').join('/');
}

async function compareAccess(path: string, leaf: Leaf, row: ReportRow, say: Say): Promise<void> {
  const event = JSON.parse(await readFile(path, 'utf8')) as AccessEvent;
  if (row.id !== `access-${leaf.seq}`) return say('the access event is another');
  compare(
    { ...row, at: timeOf(row) },
    {
      at: formatMicros(event.at),
      object: event.route,
      actor: event.caller,
      summary: `${event.method} ${event.target}: ${event.status}`,
    },
    'access event',
    say,
  );
}

/** However a time is written, it is compared as the same text. */
function timeOf({ at }: ReportRow): string {
  const micros = parseMicros(at);
  return micros === undefined ? at : formatMicros(micros);
}

async function compareVerdict(path: string, row: ReportRow, say: Say): Promise<void> {
  const record = JSON.parse(await readFile(path, 'utf8')) as VerdictRecord;
  const text = verdictText(record as Parameters<typeof verdictText>[0]);
  if (record.changeID !== row.id) say('the verdict is of another change');
  else if (text !== row.verdict) say(`the report says ${row.verdict}, the log ${text}`);
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
