import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findChromium } from '../../cli/chromium.js';
import { formatVerifierKey, verifierOf } from '../../core/log/note.js';
import { CONTROLS } from '../../core/report/controls.js';
import { checkpointJob, sequenceLogJob } from '../../jobs/proof-log.js';
import { readTrustedKeys } from '../../verify/keys.js';
import { verifyReport } from '../../verify/report.js';
import { ask } from '../harness/api-client.js';
import { problemsOfActivity, problemsOfResults } from '../harness/report-schemas.js';
import { type RunningApi, startApiWithSession } from '../harness/running-api.js';
import { runVerify } from '../harness/verifier.js';
import { readScenarios } from '../scenarios/scenario.js';
import { type Told, tellScenarios } from '../scenarios/tell.js';

const PERIOD = 'since=2000-01-01T00:00:00Z&until=2100-01-01T00:00:00Z';
/** 1 is approved; 4 was pushed to after its approval; 34 is break-glass. */
const NUMBERS = [1, 4, 34];

let api: RunningApi;
let told: Told;
beforeAll(async () => {
  api = await startApiWithSession({ WHOCHANGED_ROLES: 'ingest,api' });
  told = await tellScenarios(
    api.pool,
    readScenarios().filter(({ number }) => NUMBERS.includes(number)),
  );
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
  it.each(['soc2-cc8.1', 'soc2-cc7.2', 'pci-10.2.1.2', 'pci-10.2.1.4', 'pci-10.2.1.5', 'pci-10.2.1.7'])(
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

  it('can be made for every control, each in a form that OSCAL takes', async () => {
    for (const { id } of CONTROLS) {
      const { status, json } = await ask(api, `/v1/reports/${id}?${PERIOD}&format=oscal`);
      expect([id, status, problemsOfResults(json)]).toEqual([id, 200, []]);
    }
  });

  it('tells one by one what PCI DSS 10.2.1 asks for', async () => {
    const whats = async (control: string) =>
      (await report(control)).counts.map(({ what }: { what: string }) => what);
    expect(await whats('pci-10.2.1.2')).toEqual(expect.arrayContaining(['create', 'exec', 'scale']));
    expect(await whats('pci-10.2.1.5')).toEqual(expect.arrayContaining(['rbac_grant']));
    for (const what of await whats('pci-10.2.1.7'))
      expect(['create', 'delete', 'delete_collection']).toContain(what);
    const refused = await report('pci-10.2.1.4');
    expect(refused.exceptionRows).toBeGreaterThan(0);
    const kinds = (await ask(api, refused.query.slice('GET '.length))).text.trim().split('\n');
    for (const line of kinds) expect(JSON.parse(line).class).toMatch(/^(rejected|failed_auth)$/);
  });

  it('tells of requests to the ledger, to admins only, and of what logging broke off', async () => {
    await ask(api, '/v1/changes?limit=1', { token: 'wc_wrong' });
    const asked = await report('pci-10.2.1.3');
    expect(asked.rows).toBeGreaterThan(5);
    expect(asked.exceptions[0]).toMatchObject({
      object: '/v1/changes',
      summary: 'GET /v1/changes?limit=1: 401',
    });
    const body = { name: 'auditor', role: 'operator' };
    const { token } = (await ask(api, '/v1/tokens', { method: 'POST', body })).json;
    expect((await ask(api, `/v1/reports/pci-10.2.1.3?${PERIOD}`, { token })).status).toBe(403);
    await api.pool.query(
      `insert into gaps (cluster_id, source_id, cause, subject, since, until, missing, evidence, opened_at)
       select cluster_id, id, 'receiver_down', 'x', '2026-03-01T10:00:00Z', '2026-03-01T10:05:00Z', 7, '{}', now() from sources order by id limit 1`,
    );
    const broken = await report('pci-10.2.1.6');
    expect(broken.exceptions).toMatchObject([
      {
        at: '2026-03-01T10:00:00.000000Z',
        summary: 'receiver down: events are missing until 2026-03-01T10:05:00Z, at least 7',
      },
    ]);
    expect(broken.gaps).toMatchObject([{ cause: 'receiver_down', missing: 7 }]);
    expect(broken.completeness.gaps).toBe(1);
    const html = (await ask(api, `/v1/reports/pci-6.5.1?${PERIOD}&format=html`)).text;
    expect(html).toMatch(/receiver down: 2026-03-01T10:00:00\.000000Z until .*, at least 7 events/);
    expect(broken.counts).toContainEqual({ what: 'source added', rows: expect.any(Number) });
    await api.pool.query('delete from gaps');
    for (const format of ['ocsf', 'proofs'])
      expect((await ask(api, `/v1/reports/pci-10.2.1.6?${PERIOD}&format=${format}`)).status).toBe(400);
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

describe('the formats of a report', () => {
  const LINE = /\r\n/;
  // biome-ignore lint/suspicious/noExplicitAny: answers of every shape
  const raw = async (control: string, format: string): Promise<any> => {
    const { status, text } = await ask(api, `/v1/reports/${control}?${PERIOD}&format=${format}`);
    expect(status).toBe(200);
    return text;
  };

  it.each(['soc2-cc8.1', 'soc2-cc7.2', 'pci-10.2'])('%s as CSV is the whole population', async (control) => {
    const made = await report(control);
    const lines = (await raw(control, 'csv')).trim().split(LINE);
    expect(lines[0]).toMatch(/^at,exception,cluster,/);
    expect(lines.length - 1).toBe(made.rows);
    expect(lines.filter((line: string) => line.split(',')[1] === 'yes').length).toBe(made.exceptionRows);
    expect(await raw(control, 'csv')).toBe(`${lines.join('\r\n')}\r\n`);
  });

  // Changes, accesses, reads, refusals, and what deletecollections took.
  it.each(['soc2-cc8.1', 'soc2-cc7.2', 'pci-10.2', 'pci-10.2.1.4', 'pci-10.2.1.7'])(
    '%s as OCSF is API Activity, as it is asked for',
    async (control) => {
      const made = await report(control);
      const text = await raw(control, 'ocsf');
      const activities = text
        .trim()
        .split('\n')
        .map((line: string) => JSON.parse(line));
      expect(activities.length).toBe(made.rows);
      for (const activity of activities)
        expect([activity.metadata.uid, problemsOfActivity(activity)]).toEqual([activity.metadata.uid, []]);
      expect(
        activities.some(
          (activity: { src_endpoint: { ip?: string } }) => activity.src_endpoint.ip !== undefined,
        ),
      ).toBe(true);
      expect(await raw(control, 'ocsf')).toBe(text);
    },
  );

  it.each(['soc2-cc8.1', 'soc2-cc7.2', 'pci-10.2'])(
    '%s as OSCAL is valid, and the same again but for when it was made',
    async (control) => {
      const text = await raw(control, 'oscal');
      expect(problemsOfResults(JSON.parse(text))).toEqual([]);
      const again = JSON.parse(await raw(control, 'oscal'));
      const first = JSON.parse(text);
      again['assessment-results'].metadata['last-modified'] =
        first['assessment-results'].metadata['last-modified'];
      expect(JSON.stringify(again)).toBe(text);
      // Nothing proves that all is there, so nothing may be called satisfied.
      const [result] = first['assessment-results'].results;
      expect(result.findings[0].target.status.state).toBe('not-satisfied');
      const made = await report(control);
      expect(result.observations.length).toBe(2 + made.exceptions.length);
    },
  );

  it('as HTML ends with a page to sign, which says what is signed', async () => {
    const made = await report('soc2-cc8.1');
    const html: string = await raw('soc2-cc8.1', 'html');
    const page = html.slice(html.indexOf('Sign-off'));
    expect(page).toContain(made.populationDigest);
    expect(page).toContain('Approved by');
    const when = /<small>Generated .*<\/small>/;
    expect((await raw('soc2-cc8.1', 'html')).replace(when, '')).toBe(html.replace(when, ''));
  });
});

describe('a report with its proofs', () => {
  /** What was asked before has its place under the checkpoint. */
  let until: string;
  const folder = () => join(api.folder, 'bundle');
  const keys = () => join(api.folder, 'log.keys');
  const verify = () => runVerify(['report', folder(), '--key-file', keys()]);
  /** The same without a process of its own. */
  const problems = async () =>
    (await verifyReport(folder(), await readTrustedKeys(keys()))).problems.join('\n');

  const make = (control: string) => {
    rmSync(folder(), { recursive: true, force: true });
    return api.cli(['report', control, '--since', '2000-01-01T00:00:00Z', '--proofs', folder()]);
  };
  const held = async () => {
    const { code, output } = await verify();
    expect(output).toMatch(/^\d+ rows, \d+ proofs: it holds\n$/);
    expect(code).toBe(0);
    return /^(\d+) rows, (\d+) proofs/.exec(output)!.slice(1).map(Number) as [number, number];
  };

  beforeAll(async () => {
    for (let i = 0; i < 4; i++) await ask(api, '/v1/changes?limit=1', { token: 'wc_wrong' });
    until = new Date().toISOString();
    const signer = {
      origin: 'ledger.example.com/test',
      privateKey: generateKeyPairSync('ed25519').privateKey,
    };
    const client = await api.pool.connect();
    const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
    const context = { client, log, now: () => new Date(), signal: new AbortController().signal };
    for (const job of [sequenceLogJob(), checkpointJob(signer)]) await job.runOnce(context);
    client.release();
    writeFileSync(keys(), formatVerifierKey(verifierOf(signer.origin, createPublicKey(signer.privateKey))));
  });

  // Changes, reads, refusals, what deletecollections took, and requests to the ledger.
  it.each(['pci-10.2', 'pci-10.2.1.4', 'pci-10.2.1.7'])('on %s is checked as well', async (control) => {
    expect((await make(control)).code).toBe(0);
    const [rows, proofs] = await held();
    expect(rows).toBeGreaterThan(3);
    expect(proofs).toBeGreaterThanOrEqual(rows);
  });

  it('on requests to the ledger is checked by access events', async () => {
    rmSync(folder(), { recursive: true, force: true });
    const made = await api.cli([
      'report',
      'pci-10.2.1.3',
      '--since',
      '2000-01-01T00:00:00Z',
      '--until',
      until,
      '--proofs',
      folder(),
    ]);
    expect(made).toMatchObject({ code: 0 });
    const [rows, proofs] = await held();
    expect(rows).toBeGreaterThan(3);
    expect(proofs).toBe(rows);
    const file = join(folder(), 'report.json');
    writeFileSync(file, readFileSync(file, 'utf8').replace(': 401"', ': 200"'));
    expect(await verify()).toMatchObject({
      code: 1,
      output: expect.stringMatching(/the access event GET|in two ways/),
    });
  });

  it('is checked without the server, row by row', async () => {
    expect(await make('soc2-cc8.1')).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/^\d+ files written/),
    });
    const [rows, proofs] = await held();
    expect(rows).toBeGreaterThan(3);
    // An event and a verdict of each.
    expect(proofs).toBe(2 * rows);
  });

  it('does not hold where a row, a record or a proof is another, or missing', async () => {
    const file = join(folder(), 'report.json');
    const whole = readFileSync(file, 'utf8');
    const told = JSON.parse(whole);
    const row = told.exceptions[0];
    const forged = whole.replaceAll(`"verdict": "${row.verdict}"`, '"verdict": "approved"');
    expect(forged).not.toBe(whole);
    writeFileSync(file, forged);
    expect(await problems()).toContain('the report says approved, the log');
    writeFileSync(file, whole.replaceAll(`"actor": "${row.actor}"`, '"actor": "nobody@example.com"'));
    expect(await problems()).toContain('the report says nobody@example.com');
    // An exception that the sample holds as well, altered in one of the two places.
    const twice = JSON.parse(whole);
    twice.sample.rows = [{ ...twice.exceptions[0] }];
    twice.exceptions[0].actor = 'nobody@example.com';
    writeFileSync(file, JSON.stringify(twice));
    expect(await problems()).toContain('tells of it in two ways');
    for (const [key, other] of [
      ['at', '2026-01-01T00:00:00.000000Z'],
      ['object', 'deployments/other'],
      ['namespace', 'elsewhere'],
      ['cluster', 'another'],
    ] as const) {
      writeFileSync(file, whole.replaceAll(`"${key}": "${row[key]}"`, `"${key}": "${other}"`));
      expect(await problems()).toContain(`${row.id}: the report says ${other}, the event ${row[key]}`);
    }
    writeFileSync(file, whole);
    rmSync(join(folder(), row.id, 'event.tlog-proof'));
    expect(await problems()).toContain(`${row.id}: there is no proof of its event`);
    const record = join(folder(), row.id, 'verdict.json');
    writeFileSync(record, readFileSync(record, 'utf8').replace('"final":', '"finally":'));
    expect(await problems()).toContain(`${row.id}: verdict: ${record} is not that record`);
  });
});

describe('the command line', () => {
  const pdf = ['report', 'soc2-cc8.1', '--since', '2000-01-01T00:00:00Z', '--format', 'pdf'];

  it('says what to do where there is no Chromium to print a PDF', async () => {
    expect(await api.cli(pdf)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--file is missing'),
    });
    const file = join(api.folder, 'none.pdf');
    expect(await api.cli([...pdf, '--file', file], { PATH: '/nonexistent' })).toMatchObject({
      code: 5,
      stderr: expect.stringContaining('none is on the PATH'),
    });
  });

  it.skipIf(findChromium() === undefined)('prints the page as a PDF', async () => {
    const file = join(api.folder, 'report.pdf');
    expect(await api.cli([...pdf, '--file', file])).toMatchObject({
      code: 0,
      stderr: `written to ${file}\n`,
    });
    expect(readFileSync(file).subarray(0, 5).toString()).toBe('%PDF-');
    expect(statSync(file).size).toBeGreaterThan(10_000);
  });

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
