import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeEvent } from '../core/decode.js';
import { requestID } from '../core/identity.js';
import type { VerifierKey } from '../core/log/note.js';
import type { Report, ReportRow } from '../core/report/report.js';
import { verdictText } from '../core/verdict/verdict.js';
import type { VerdictRecord } from '../core/verdict/verdict-record.js';
import { verifyProof } from './proof.js';

export interface ReportVerdict {
  rows: number;
  proofs: number;
  /** What does not hold, or can't be told, row by row. */
  problems: string[];
}

/**
 * Checks a folder that `whochanged report --proofs` wrote: each row that the report tells has an event in the signed log
 * which is of that change and actor, and, where the report says a verdict, that verdict is in the log too.
 * @throws Error where the folder holds no report
 */
export async function verifyReport(folder: string, keys: readonly VerifierKey[]): Promise<ReportVerdict> {
  const report = JSON.parse(await readFile(join(folder, 'report.json'), 'utf8')) as Report;
  const rows = new Map([...report.exceptions, ...report.sample.rows].map((row) => [row.id, row]));
  const verdict: ReportVerdict = { rows: rows.size, proofs: 0, problems: [] };
  for (const row of rows.values()) {
    const say = (problem: string) => verdict.problems.push(`${row.id}: ${problem}`);
    if (!/^[0-9a-f-]{36}$/.test(row.id)) {
      say('it is no id of a change');
      continue;
    }
    const place = join(folder, row.id);
    if (await holds(place, 'event', keys, say)) {
      verdict.proofs++;
      await compareEvent(join(place, 'event.json'), row, say);
    }
    if (row.verdict !== undefined && (await holds(place, 'verdict', keys, say))) {
      verdict.proofs++;
      await compareVerdict(join(place, 'verdict.json'), row, say);
    }
  }
  return verdict;
}

async function holds(
  place: string,
  type: 'event' | 'verdict',
  keys: readonly VerifierKey[],
  say: (problem: string) => void,
): Promise<boolean> {
  const [proof, record] = [join(place, `${type}.tlog-proof`), join(place, `${type}.json`)];
  if (!(await exists(proof))) {
    say(`there is no proof of its ${type}`);
    return false;
  }
  if (!(await exists(record))) {
    say(`its ${type} is proven, and not told: what it said can't be compared`);
    return false;
  }
  const result = await verifyProof(proof, keys, record);
  if (!result.ok) say(`${type}: ${result.lines.at(-1)}`);
  return result.ok;
}

async function compareEvent(path: string, row: ReportRow, say: (problem: string) => void): Promise<void> {
  const event = decodeEvent(JSON.parse(await readFile(path, 'utf8')));
  // One deletecollection is a change of each object that it deleted.
  if (event.verb !== 'deletecollection' && requestID(event) !== row.id) say('the event is of another change');
  const actor = event.impersonatedUser?.username ?? event.user.username;
  if (actor !== row.actor) say(`the report says ${row.actor}, the event ${actor}`);
}

async function compareVerdict(path: string, row: ReportRow, say: (problem: string) => void): Promise<void> {
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
