import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CONTROLS } from '../../core/report/controls.js';
import { ask } from '../harness/api-client.js';
import { postSession, type RunningApi, startApi } from '../harness/running-api.js';
import { readScenarios } from '../scenarios/scenario.js';
import { type Told, tellScenarios } from '../scenarios/tell.js';

const PERIOD = 'since=2000-01-01T00:00:00Z&until=2100-01-01T00:00:00Z';
/** 1 is approved; 4 was pushed to after its approval; 34 is break-glass. */
const NUMBERS = [1, 4, 34];

let api: RunningApi;
let told: Told;
beforeAll(async () => {
  api = await startApi({ WHOCHANGED_ROLES: 'ingest,api' });
  told = await tellScenarios(
    api.pool,
    readScenarios().filter(({ number }) => NUMBERS.includes(number)),
  );
  await postSession(api);
}, 90_000);
afterAll(async () => {
  await told?.stop();
  await api?.stop();
});

// biome-ignore lint/suspicious/noExplicitAny: answers of every shape
const report = async (control: string, more = ''): Promise<any> => {
  const { status, json } = await ask(api, `/v1/reports/${control}?${PERIOD}${more}`);
  expect(status).toBe(200);
  return json;
};

describe('a report', () => {
  it.each(['soc2-cc8.1', 'soc2-cc7.2'])(
    'on %s counts the very rows that its question gives',
    async (control) => {
      const made = await report(control);
      const { text } = await ask(api, made.query.slice('GET '.length));
      const ids = text
        .trim()
        .split('\n')
        .map((line: string) => JSON.parse(line).change?.id ?? JSON.parse(line).id);
      expect(made.rows).toBeGreaterThan(3);
      expect(ids.length).toBe(made.rows);
      expect(made.counts.reduce((sum: number, { rows }: { rows: number }) => sum + rows, 0)).toBe(made.rows);
      for (const row of [...made.exceptions, ...made.sample.rows]) expect(ids).toContain(row.id);
    },
  );

  it('puts what was not approved first, with the reason and the commits', async () => {
    const made = await report('pci-6.5.1');
    const stale = made.exceptions.find(({ verdict }: { verdict: string }) => verdict === 'unapproved(stale)');
    expect(stale).toMatchObject({
      detail: expect.any(String),
      commits: expect.arrayContaining([expect.stringMatching(/^[0-9a-f]{40}$/)]),
    });
    expect(made.exceptions.every(({ verdict }: { verdict: string }) => !verdict.startsWith('approved'))).toBe(
      true,
    );
    expect(made.policies.length).toBeGreaterThan(0);
  });

  it('takes who read Secrets from the recorded cluster', async () => {
    const made = await report('pci-10.2');
    expect(made.rows).toBeGreaterThan(0);
    expect(made.exceptions.every(({ actor }: { actor: string }) => !actor.startsWith('system:'))).toBe(true);
  });

  it('has the same bytes again, but for when it was made', async () => {
    const [one, two] = [await report('soc2-cc8.1'), await report('soc2-cc8.1')];
    const { generatedAt: first, ...rest } = one;
    const { generatedAt: second, ...again } = two;
    expect(JSON.stringify(again)).toBe(JSON.stringify(rest));
    expect(first).not.toBe(second);
  });

  it('claims no completeness that nothing proves', async () => {
    const made = await report('soc2-cc8.1');
    expect(made.completeness.verdict).not.toBe('complete');
    expect(made.completenessStatement).toMatch(/not proven|not complete/);
  });

  it.each([
    ['/v1/reports/soc3', 404, /one of soc2-cc8.1/],
    ['/v1/reports/soc2-cc8.1?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z', 400, /before until/],
    ['/v1/reports/soc2-cc7.2?environment=production', 400, /not about environments/],
    ['/v1/reports/soc2-cc8.1?cluster=nowhere', 404, /nowhere/],
  ])('%s is refused with the reason', async (path, status, says) => {
    const url = path.includes('since=') ? path : `${path}${path.includes('?') ? '&' : '?'}${PERIOD}`;
    const answer = await ask(api, url);
    expect(answer.status).toBe(status);
    expect(JSON.stringify(answer.json)).toMatch(says);
  });
});

describe('the command line', () => {
  it('lists the controls, and writes a report for people', async () => {
    const { stdout } = await api.cli(['controls', '-o', 'json']);
    expect(JSON.parse(stdout).items.length).toBe(CONTROLS.length);
    const folder = mkdtempSync(join(tmpdir(), 'whochanged-report-'));
    try {
      const file = join(folder, 'report.html');
      const { code, stderr } = await api.cli([
        'report',
        'soc2-cc8.1',
        '--since',
        '2000-01-01T00:00:00Z',
        '--file',
        file,
      ]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: `written to ${file}\n` });
      const html = readFileSync(file, 'utf8');
      expect(html).toMatch(/^<!doctype html>/);
      expect(html.indexOf('Exceptions (')).toBeLessThan(html.indexOf('Sample ('));
      expect(html).toContain('unapproved(stale)');
    } finally {
      rmSync(folder, { recursive: true });
    }
    expect((await api.cli(['report', 'soc2-cc8.1'])).code).toBe(2);
  });
});
