import { generateKeyPairSync } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type { AccessEvent } from '../../../core/access/access-event.js';
import { Identities } from '../../../core/identity-map/identities.js';
import { isLate, parseLeaf } from '../../../core/log/leaf.js';
import { describeLedgerVerdict, type LedgerVerdict } from '../../../core/log/ledger-verdict.js';
import { hashLeaf } from '../../../core/log/merkle.js';
import { verifierOf } from '../../../core/log/note.js';
import { parseProofFile, verifyProofFile } from '../../../core/log/proof-file.js';
import { attributeJob } from '../../../jobs/attribute.js';
import type { Job } from '../../../jobs/job.js';
import { linksJob } from '../../../jobs/links.js';
import { checkpointJob, lateLeavesJob, sequenceLogJob } from '../../../jobs/proof-log.js';
import { verdictsJob } from '../../../jobs/verdicts.js';
import { BUILT_IN_POLICY } from '../../../main/policy-file.js';
import { appendAccessEvents } from '../../../store/access-events.js';
import { proveVerdict } from '../../../store/log/prove-records.js';
import { findVerdictRecord } from '../../../store/log/verdict-records.js';
import { verifyLedger } from '../../../store/log/verify-ledger.js';
import { peopleOf } from '../../../store/verdicts/people.js';
import { Cluster, eventList } from '../../harness/events.js';
import { startReceiver, type TestReceiver } from '../../harness/receiver.js';

const ORIGIN = 'ledger.example.com/whochanged';
const LATE = new Date('2026-03-05T10:00:00Z');
const keys = generateKeyPairSync('ed25519');
const verifier = verifierOf(ORIGIN, keys.publicKey);
const cluster = new Cluster();

let receiver: TestReceiver;
const run = (sql: string, values: unknown[] = []) => receiver.database.pool.query(sql, values);

async function runJobs(...jobs: Job[]): Promise<void> {
  const client = await receiver.database.pool.connect();
  try {
    const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
    const { signal } = new AbortController();
    for (const job of jobs) await job.runOnce({ client, now: () => LATE, log, signal });
  } finally {
    client.release();
  }
}

const sign = () => runJobs(sequenceLogJob(), checkpointJob({ origin: ORIGIN, privateKey: keys.privateKey }));

async function judge(prefix: string): Promise<void> {
  const items = [1, 2, 3].map((i) => cluster.deployment('create', `${prefix}-${i}`, { image: 'web:1' }));
  expect((await receiver.post(eventList(items))).status).toBe(200);
  const policy = () => Promise.resolve(BUILT_IN_POLICY);
  const people = peopleOf(new Identities([]));
  await runJobs(attributeJob(), linksJob(policy), verdictsJob({ policy, git: undefined, people }));
}

async function ask(count: number): Promise<void> {
  const event = (n: number): AccessEvent => ({
    at: Date.UTC(2026, 2, 2) * 1000 + n,
    caller: `asker-${n}`,
    callerKind: 'oidc',
    role: 'reader',
    clusters: null,
    namespaces: null,
    grants: null,
    method: 'GET',
    route: '/v1/changes',
    target: '/v1/changes',
    asked: null,
    status: 200,
    sourceIP: '127.0.0.1',
    requestID: `request-${n}`,
  });
  await appendAccessEvents(
    receiver.database.pool,
    Array.from({ length: count }, (_, n) => event(n)),
  );
}

async function verify(): Promise<{ told: string[]; verdict: LedgerVerdict }> {
  const told: string[] = [];
  const tell = (problem: string) => void told.push(problem);
  const verdict = await verifyLedger(receiver.database.pool, [verifier], [], tell, () => undefined);
  return { told, verdict };
}

/** The statement by which the migration notes what has no leaf. */
async function noteUnlogged(): Promise<void> {
  const text = await readFile(new URL('../../../migrations/029-late-leaves.sql', import.meta.url), 'utf8');
  await run(text.slice(text.indexOf('insert into log_late')));
}

beforeAll(async () => {
  receiver = await startReceiver();
  // As an older whochanged left them: verdicts and access events that nobody handed to the log.
  await judge('old');
  await ask(4);
  await run(`delete from log_pending where type <> 'event'`);
  await sign();
  await judge('new');
  await ask(2);
  await sign();
});
afterAll(() => receiver.stop());

it('finds rows without leaves to be added, until they get leaves that say how late they are', async () => {
  const { told } = await verify();
  expect(told).toHaveLength(7);
  for (const problem of told) expect(problem).toMatch(/^added: (verdict|access) .*the log has no place/);
  await noteUnlogged();
  await runJobs(lateLeavesJob());
  await sign();
  const { told: problems, verdict } = await verify();
  expect(problems).toEqual([]);
  expect(verdict).toMatchObject({ lateLeaves: 7, lateLeavesAt: '2026-03-05T10:00:00.000000Z' });
  expect(describeLedgerVerdict(verdict)).toMatch(
    /7 of them proven only from when their leaves were made later, the last at 2026-03-05T10/,
  );
  expect((await run('select from log_late')).rowCount).toBe(0);
});

it('proves such a verdict by a leaf that says of itself that it came later', async () => {
  const { rows } = await run('select change_id from verdicts order by id');
  const leaves = [];
  for (const { change_id } of rows) {
    const found = await findVerdictRecord(receiver.database.pool, change_id);
    const proof = parseProofFile((await proveVerdict(receiver.database.pool, found!)).file);
    expect(verifyProofFile(proof, hashLeaf(proof.extra!), [verifier])).toMatchObject({ ok: true });
    leaves.push(parseLeaf(proof.extra!.toString()));
  }
  expect(leaves.map(isLate)).toEqual([true, true, true, false, false, false]);
  expect(leaves[0]!.at).toBe(LATE.getTime() * 1000);
});

const TABLES = ['verdicts', 'log_runs', 'log_tiles', 'log_size', 'log_checkpoints'];

it.each([
  ['hides that a leaf came later', 'update log_runs set late_at = null', 7, /^altered/],
  ['dates late leaves back', `update log_runs set late_at = late_at - interval '1 year'`, 7, /^altered/],
  [
    'makes a leaf late that was not',
    `update log_runs set late_at = '2026-03-05T10:00:00Z' where late_at is null and type = 'verdict'`,
    3,
    /^altered/,
  ],
  [
    'alters a verdict under a late leaf',
    `update verdicts set detail = 'reviewed' where id = (select min(id) from verdicts)`,
    1,
    /^altered/,
  ],
  [
    'deletes a verdict under a late leaf',
    'delete from verdicts where id = (select min(id) from verdicts)',
    2,
    /^removed: verdict \d|^added: verdict .* in force is \S+, and the newest that was given is none$/,
  ],
])('whoever %s is found out', async (_name, attack, problems, expected) => {
  await keep();
  await run(attack);
  const { told } = await verify();
  expect(told).toHaveLength(problems);
  for (const problem of told) expect(problem).toMatch(expected);
});

it('finds out who adds a verdict and has the job give it a leaf', async () => {
  await keep();
  await run(
    `insert into verdicts overriding system value
     select (jsonb_populate_record(v, jsonb_build_object('id', v.id + 1000, 'verdict', v.verdict))).* from verdicts v
      where id = (select max(id) from verdicts)`,
  );
  await run(
    `insert into log_late (type, cluster_id, next_seq, before_seq)
     select 'verdict', min(cluster_id), max(id), max(id) + 1 from verdicts`,
  );
  await runJobs(lateLeavesJob());
  await sign();
  const { told } = await verify();
  expect(told).toEqual([expect.stringMatching(/^added: verdict .*though such records had leaves by then$/)]);
});

async function keep(): Promise<void> {
  await run('alter table verdicts disable trigger user');
  for (const table of TABLES) await run(`create table kept_${table} as table ${table}`);
}
afterEach(async () => {
  if ((await run(`select to_regclass('kept_verdicts') as kept`)).rows[0].kept === null) return;
  for (const table of TABLES) {
    await run(`delete from ${table}`);
    const overriding = table === 'verdicts' ? 'overriding system value' : '';
    await run(`insert into ${table} ${overriding} table kept_${table}`);
    await run(`drop table kept_${table}`);
  }
  expect((await verify()).told).toEqual([]);
});
