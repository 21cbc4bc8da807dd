import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { runShell } from '../harness/cli.js';
import { type RunningApi, startApiWithSession } from '../harness/running-api.js';

const SESSION = ['--since', '2026-11-24T13:37:00Z', '--until', '2026-11-24T13:41:00Z'];
const FIXTURES = join(import.meta.dirname, '../fixtures/session');
const SECRETS = readFileSync(join(FIXTURES, 'seeded-secrets.txt'), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'));

let api: RunningApi;
beforeAll(async () => {
  api = await startApiWithSession();
});
afterAll(() => api.stop());

interface Listed {
  items: Array<{ id: string; name?: string; summary: string }>;
}

/** Rows of cells, as RFC 4180 has them. */
function readCsv(text: string): string[][] {
  expect(text === '' || text.endsWith('\r\n')).toBe(true);
  const rows: string[][] = [[]];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|$)/g)) {
    rows.at(-1)!.push(quoted?.replaceAll('""', '"') ?? plain!);
    if (end === '\r\n') rows.push([]);
    if (end === '') break;
  }
  return rows.slice(0, -1);
}

describe.each([
  ['changes', ['-n', 'shop', ...SESSION, '--limit', '20']],
  ['access', ['access', ...SESSION]],
  ['secret-reads', ['secret-reads', ...SESSION, '--limit', '5']],
  ['history', ['history', 'cronjob/tick', '-n', 'shop']],
  ['tail', ['tail', '-n', 'shop']],
])('the forms of %s', (_name, args) => {
  it('have the same rows', async () => {
    const [json, yaml, ndjson, csv, name, table] = await Promise.all([
      ...['json', 'yaml', 'ndjson', 'csv', 'name', 'table'].map(async (form) => {
        const { code, stdout } = await api.cli([...args, '-o', form]);
        expect(code).toBe(0);
        return stdout;
      }),
    ]);
    const { items } = JSON.parse(json!) as Listed;
    expect(items.length).toBeGreaterThan(3);
    expect((parse(yaml!) as Listed).items).toEqual(items);
    const lines = ndjson!.trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(items);
    expect(name!.trimEnd().split('\n')).toEqual(items.map((item) => item.id));
    const [head, ...rows] = readCsv(csv!);
    expect(rows.map((row) => row[head!.indexOf('id')])).toEqual(items.map((item) => item.id));
    const summary = head!.indexOf('summary');
    // What a spreadsheet would take for a formula gets an apostrophe.
    expect(rows.map((row) => row[summary]!.replace(/^'(?=[=+\-@])/, ''))).toEqual(
      items.map((item) => item.summary),
    );
    expect(table!.split('\n').filter((line) => /^\d\d-\d\d /.test(line))).toHaveLength(items.length);
  });
});

describe('CSV', () => {
  it('of changes is what the API exports', async () => {
    const filter = ['-n', 'shop', '--kind', 'exec', ...SESSION];
    const list = await api.cli([...filter, '-o', 'csv']);
    const exported = await api.cli(['export', '--format', 'csv', ...filter]);
    expect(readCsv(list.stdout).length).toBeGreaterThan(3);
    expect(list.stdout).toBe(exported.stdout);
  });

  it('of other lists has a column for each value', async () => {
    const { stdout } = await api.cli(['source', 'list', '-o', 'csv']);
    const [head, row] = readCsv(stdout);
    expect(head).toEqual(expect.arrayContaining(['name', 'cluster', 'health.state', 'health.events']));
    expect(row![head!.indexOf('name')]).toBe('default');
    expect(Number(row![head!.indexOf('health.events')])).toBeGreaterThan(6000);
  });

  it('of one thing has one row', async () => {
    const [head, ...rows] = readCsv((await api.cli(['status', '-o', 'csv'])).stdout);
    expect(rows).toHaveLength(1);
    expect(rows[0]![head!.indexOf('spool.bytes')]).toBe('0');
    const [id] = (await api.cli(['-n', 'shop', ...SESSION, '-o', 'name'])).stdout.split('\n');
    const shown = await api.cli(['show', id!, '-o', 'csv']);
    const exported = await api.cli(['export', '-n', 'shop', '--format', 'csv', ...SESSION]);
    expect(exported.stdout).toContain(shown.stdout.split('\r\n')[1]);
  });

  it('of a state has a row for each field', async () => {
    const at = ['--at', '2026-11-24T13:37:58Z'];
    const [head, ...rows] = readCsv(
      (await api.cli(['show', 'deploy/web', '-n', 'shop', ...at, '-o', 'csv'])).stdout,
    );
    expect(head).toEqual(['path', 'value', 'certainty', 'doubt']);
    expect(rows).toContainEqual(['spec.replicas', '3', 'exact', '']);
  });

  it('is refused for files in a form of their own, and names where there is no list', async () => {
    const file = await api.cli(['checkpoint', '-o', 'csv']);
    expect(file).toMatchObject({
      code: 2,
      stderr: 'whochanged: -o csv: this command gives a file in a form of its own\nleave -o out\n',
    });
    const name = await api.cli(['status', '-o', 'name']);
    expect(name).toMatchObject({
      code: 2,
      stderr: 'whochanged: -o name: this command gives no list\nuse -o json, yaml or csv\n',
    });
  });
});

describe('a pipe', () => {
  const shell = (script: string) =>
    runShell(`set -o pipefail; ${script}`, {
      folder: api.folder,
      env: { WHOCHANGED_URL: api.http, WHOCHANGED_TOKEN: api.adminToken },
    });

  it.each([
    ['a table', '$CLI -n shop --since 2026-11-24T13:37:00Z --limit 1000'],
    ['JSON', '$CLI --all --since 2026-11-24T13:37:00Z --limit 1000 -o json'],
    ['an export', '$CLI export --all --since 2026-11-24T13:37:00Z'],
  ])('closed early ends %s quietly', async (_what, command) => {
    const { code, stdout, stderr } = await shell(`${command} | head -n 1`);
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.not.stringMatching(/Error|EPIPE|at /) });
    expect(stdout.trimEnd().split('\n')).toHaveLength(1);
  });

  it('takes an export whole', async () => {
    const [lines, rows] = await Promise.all([
      shell('$CLI export --all --since 2026-11-24T13:37:00Z | wc -l'),
      shell('$CLI export --all --since 2026-11-24T13:37:00Z --format csv | tail -n +2 | wc -l'),
    ]);
    expect(Number(lines.stdout)).toBeGreaterThan(1000);
    expect(lines).toEqual(rows);
  });
});

describe('secrets', () => {
  /** A secret as it stands, and as any of the three alignments of base64 has it within a longer text. */
  function spellings(secret: string): string[] {
    const bytes = Buffer.from(secret);
    const encoded = [0, 1, 2].map((shift) => {
      const text = Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64');
      // Only whole groups of three bytes are the same in every text.
      return text.slice(shift === 0 ? 0 : 4, Math.floor((shift + bytes.length) / 3) * 4);
    });
    return [secret, ...encoded];
  }

  it('come out in no form of any answer, nor in the log', async () => {
    const answers = await Promise.all(
      [
        ['export', '--all', ...SESSION],
        ['export', '--all', '--format', 'csv', ...SESSION],
        ['--all', ...SESSION, '--limit', '1000'],
        ['--class', 'secret_read', '--class', 'read', ...SESSION, '--limit', '1000', '-o', 'yaml'],
        ['show', 'secret/db', '-n', 'shop', '--at', '2026-11-24T13:39:00Z', '--show-managed-fields'],
        ['show', 'secret/db', '-n', 'shop', '--at', '2026-11-24T13:39:00Z', '--fields'],
        ['show', 'deploy/web', '-n', 'shop', '--at', '2026-11-24T13:38:00.9Z'],
        ['rollback', 'secret/db', '-n', 'shop', '--to', '2026-11-24T13:39:00Z', '-o', 'json'],
        ['rollback', 'deploy/web', '-n', 'shop', '--to', '2026-11-24T13:38:00.9Z'],
        ['events', '--limit', '1000', '-o', 'json'],
        ['quarantine', '-o', 'json'],
        ['findings', '-o', 'json'],
        ['source', 'list', '-o', 'json'],
        ['token', 'list', '-o', 'json'],
      ].map((args) => api.cli(args)),
    );
    const text = answers.map(({ stdout, stderr }) => stdout + stderr).join('\n') + api.log();
    expect(text.length).toBeGreaterThan(1_000_000);
    expect(text).toContain('[redacted:');
    expect(text).toContain('secrets');
    const recording = gunzipSync(readFileSync(join(FIXTURES, 'recording.ndjson.gz'))).toString('utf8');
    const sent = SECRETS.flatMap(spellings).filter((secret) => recording.includes(secret));
    expect(sent.length).toBeGreaterThan(SECRETS.length);
    expect(sent.filter((secret) => text.includes(secret))).toEqual([]);
    for (const token of [api.adminToken, api.sourceToken]) expect(text).not.toContain(token);
  });
});
