import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask } from '../harness/api-client.js';
import { Cluster, eventList } from '../harness/events.js';
import { type RunningApi, startApi } from '../harness/running-api.js';
import { runVerify } from '../harness/verifier.js';

let api: RunningApi;
let changeID: string;
let accessEvent: string;
const file = (name: string) => join(api.folder, name);

const verify = (...args: string[]) => runVerify(args);

async function runJob(name: string): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const { status } = await ask(api, `/v1/jobs/${name}/run`, { method: 'POST' });
    if (status === 200) return;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`${name} did not run`);
}

beforeAll(async () => {
  api = await startApi();
  const cluster = new Cluster();
  await api.post(eventList([cluster.deployment('create', 'web', { image: 'web:1' })]));
  await api.post(eventList([cluster.deployment('update', 'web', { image: 'web:2' })]));
  for (const job of ['attribute', 'links', 'verdicts']) await runJob(job);
  changeID = (await ask(api, '/v1/changes')).json.items[0].id;
  accessEvent = (await ask(api, '/v1/access-events?limit=1')).json.items[0].seq;
  await runJob('checkpoint');
  const keys = await ask(api, '/v1/log/keys');
  await writeFile(file('log.keys'), `# kept by the auditor\n${keys.json.items[0].verifierKey}\n`);
});
afterAll(() => api.stop());

describe('a proof that the command line gave', () => {
  it('holds by itself, and with the event that it is of', async () => {
    const { code, stderr } = await api.cli(['proof', changeID, '--file', file('change.tlog-proof')]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const change = await ask(api, `/v1/changes/${changeID}`);
    const event = await ask(api, `/v1/events/${change.json.events[0].eventID}`);
    await writeFile(file('event.json'), JSON.stringify(event.json.raw));
    const result = await verify(
      'proof',
      file('change.tlog-proof'),
      '--key-file',
      file('log.keys'),
      '--record',
      file('event.json'),
    );
    expect(result.output).toMatch(
      /is at place \d+\n.*signed at size \d+ by .*\n.*is that record\nit holds\n$/s,
    );
    expect(result.code).toBe(0);
  });

  it('does not hold for an altered event, nor by another key', async () => {
    const event = JSON.parse(await readFile(file('event.json'), 'utf8'));
    event.user.username = 'eve@example.com';
    await writeFile(file('forged.json'), JSON.stringify(event));
    const forged = await verify(
      'proof',
      file('change.tlog-proof'),
      '--key-file',
      file('log.keys'),
      '--record',
      file('forged.json'),
    );
    expect(forged).toMatchObject({ code: 1, output: expect.stringContaining('its digest is another') });
    await writeFile(
      file('other.keys'),
      'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW\n',
    );
    const other = await verify('proof', file('change.tlog-proof'), '--key-file', file('other.keys'));
    expect(other).toMatchObject({ code: 1, output: expect.stringContaining('no trusted key') });
  });
});

describe('a proof of a verdict or of an access event', () => {
  it.each([
    ['a verdict', () => [changeID, '--verdict'], 'verdict', { verdict: 'approved' }],
    ['an access event', () => [accessEvent, '--access-event'], 'access', { caller: 'nobody' }],
  ])(
    '%s: holds by itself and with its record, and not with an altered one',
    async (_name, what, type, forged) => {
      const [proof, record, other] = [`${type}.tlog-proof`, `${type}.json`, `${type}-forged.json`].map(file);
      const asked = await api.cli(['proof', ...what(), '--file', proof!, '--record', record!]);
      expect(asked).toEqual({ code: 0, stdout: '', stderr: '' });
      const keys = ['--key-file', file('log.keys')];
      const result = await verify('proof', proof!, ...keys, '--record', record!);
      expect(result.output).toMatch(
        new RegExp(`^${type} \\d+ of .*signed at size.*is that record\nit holds\n$`, 's'),
      );
      expect(result.code).toBe(0);
      const altered = { ...JSON.parse(await readFile(record!, 'utf8')), ...forged };
      await writeFile(other!, JSON.stringify(altered));
      expect(await verify('proof', proof!, ...keys, '--record', other!)).toMatchObject({
        code: 1,
        output: expect.stringContaining('its digest is another'),
      });
    },
  );

  it('is not to be had of what there is not', async () => {
    const nothing = '01a20dc7-40ce-852d-a998-36db9f65fd6a';
    expect((await ask(api, `/v1/changes/${nothing}/verdict/proof`)).status).toBe(404);
    expect((await ask(api, '/v1/access-events/999999999/proof')).status).toBe(404);
  });
});

describe('a whole ledger', () => {
  it('holds, asked through the API and checked from outside', async () => {
    const asked = await api.cli(['verify-log']);
    expect(asked).toMatchObject({
      code: 0,
      // The questions that these tests ask are access events, with leaves of their own.
      stdout: expect.stringMatching(
        /^2 events, \d+ verdicts, \d+ access events, 2 changes, 4 bodies, \d+ leaves, \d+ of them signed, \d+ records waiting for a place: it holds\n$/,
      ),
    });
    await mkdir(file('copies'));
    const { stdout } = await api.cli(['checkpoint']);
    await writeFile(join(file('copies'), 'first.txt'), stdout);
    const checked = await verify(
      'database',
      '--database-url',
      api.databaseURL,
      '--key-file',
      file('log.keys'),
      '--checkpoints',
      file('copies'),
    );
    expect(checked).toMatchObject({ code: 0, output: expect.stringMatching(/it holds\n$/) });
  });

  it('tells by `status` how far it is signed, and whether a copy is locked', async () => {
    const line = async () => (await api.cli(['status'])).stdout.split('\n')[1];
    expect(await line()).toMatch(
      /^proof log: \d+ leaves, \d+ signed \S+ ago; no checkpoint copied elsewhere$/,
    );
    const newest = `(select max(size) from log_checkpoints)`;
    await api.query(`update log_checkpoints set copied_at = now() where size = ${newest}`);
    expect(await line()).toMatch(/the checkpoint of \d+ copied \S+ ago, not locked: it can be deleted$/);
    await api.query(
      `update log_checkpoints set locked_until = now() + interval '1 year' where size = ${newest}`,
    );
    expect(await line()).toMatch(/the checkpoint of \d+ copied \S+ ago, locked until 20\S+Z$/);
    await api.query(
      `update log_checkpoints set locked_until = '2026-01-01T00:00:00Z' where size = ${newest}`,
    );
    expect(await line()).toMatch(/, its lock ended at 2026-01-01T00:00:00/);
    await api.query('update log_checkpoints set copied_at = null, locked_until = null');
  });

  it('gives every checkpoint once, page by page, also where one size was signed twice', async () => {
    await api.query(
      `insert into log_checkpoints (size, signed_at, root, note)
       select size, signed_at + interval '1 second', root, note from log_checkpoints order by size limit 1`,
    );
    const { rows } = (await api.query('select count(*)::int as count from log_checkpoints')) as {
      rows: Array<{ count: number }>;
    };
    const seen: string[] = [];
    let cursor = '';
    do {
      const { json } = await ask(api, `/v1/log/checkpoints?limit=1${cursor && `&cursor=${cursor}`}`);
      for (const { size, signedAt } of json.items) seen.push(`${size} ${signedAt}`);
      cursor = json.next && encodeURIComponent(json.next);
    } while (cursor && seen.length < 100);
    expect(seen).toHaveLength(rows[0]!.count);
    expect(new Set(seen).size).toBe(rows[0]!.count);
  });

  it('does not once somebody has altered it, and says where', async () => {
    await api.query(`update users set username = 'eve@example.com'`);
    const asked = await api.cli(['verify-log']);
    expect(asked.code).toBe(1);
    expect(asked.stdout).toMatch(
      /^altered: event \d+ of default, place \d+: event .*: its columns no longer give/,
    );
    const checked = await verify(
      'database',
      '--database-url',
      api.databaseURL,
      '--key-file',
      file('log.keys'),
    );
    expect(checked).toMatchObject({ code: 1, output: expect.stringMatching(/2 problems\n$/) });
    await api.query(`update users set username = 'alice@example.com'`);
  });

  it('is not checked without keys or a database', async () => {
    await writeFile(file('empty.keys'), '\n');
    const result = await verify(
      'database',
      '--database-url',
      api.databaseURL,
      '--key-file',
      file('empty.keys'),
    );
    expect(result).toMatchObject({ code: 2, output: expect.stringContaining('holds no key') });
  });
});
