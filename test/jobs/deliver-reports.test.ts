import { execFileSync } from 'node:child_process';
import { createHash, createHmac, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GetObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Identities } from '../../core/identity-map/identities.js';
import { formatVerifierKey, verifierOf } from '../../core/log/note.js';
import { lastPeriod, type ReportDelivery, readDeliveries } from '../../core/report/delivery.js';
import { attributeJob } from '../../jobs/attribute.js';
import { deliverReportsJob } from '../../jobs/deliver-reports.js';
import type { Job } from '../../jobs/job.js';
import { linksJob } from '../../jobs/links.js';
import { checkpointJob, sequenceLogJob } from '../../jobs/proof-log.js';
import { createReportMetrics } from '../../jobs/report-metrics.js';
import { verdictsJob } from '../../jobs/verdicts.js';
import { BUILT_IN_POLICY } from '../../main/policy-file.js';
import { S3Clients } from '../../store/s3-client.js';
import { parseS3Place } from '../../store/s3-place.js';
import { peopleOf } from '../../store/verdicts/people.js';
import { Cluster, eventList } from '../harness/events.js';
import { startReceiver, type TestReceiver } from '../harness/receiver.js';
import { problemsOfResults } from '../harness/report-schemas.js';
import { startS3, type TestS3 } from '../harness/s3.js';
import { runVerify } from '../harness/verifier.js';

const KEY = 'the key that reports are signed with';
const clients = new S3Clients();
const registry = new Registry();
const metrics = createReportMetrics(registry);
const signer = { origin: 'ledger.example.com/test', privateKey: generateKeyPairSync('ed25519').privateKey };
let receiver: TestReceiver;
let s3: TestS3;
let bucket: string;
let hook: Server;
/** What the webhook got, and what it answers. */
const got: Array<{ headers: Record<string, unknown>; body: string }> = [];
let answer = 200;

beforeAll(async () => {
  [receiver, s3] = await Promise.all([startReceiver(), startS3()]);
  bucket = await s3.createBucket();
  hook = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      got.push({ headers: request.headers, body });
      response.writeHead(answer).end();
    });
  });
  await new Promise<void>((done) => hook.listen(0, '127.0.0.1', done));
  const cluster = new Cluster();
  const items = Array.from({ length: 5 }, (_, i) =>
    cluster.deployment('create', `web-${i}`, { image: 'w:1' }),
  );
  await receiver.post(eventList(items));
  const policy = () => Promise.resolve(BUILT_IN_POLICY);
  const people = peopleOf(new Identities([]));
  const judge = [attributeJob(), linksJob(policy), verdictsJob({ policy, git: undefined, people })];
  for (const job of [...judge, sequenceLogJob(), checkpointJob(signer)]) await run(job, new Date());
});
afterAll(async () => {
  hook?.close();
  await clients.stop();
  await Promise.all([s3?.stop(), receiver?.stop()]);
});

async function run(job: Job, now: Date): Promise<number> {
  const client = await receiver.database.pool.connect();
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  try {
    return (await job.runOnce({ client, log, now: () => now, signal: new AbortController().signal })).rows;
  } finally {
    client.release();
  }
}

const place = () => `s3://${bucket}/audit?endpoint=${s3.endpoint}&pathStyle=true`;
function deliveries(): ReportDelivery[] {
  const read = readDeliveries({
    deliveries: [
      {
        name: 'changes-quarterly',
        control: 'soc2-cc8.1',
        every: 'quarter',
        formats: ['html', 'json', 'ndjson', 'csv', 'oscal', 'ocsf', 'proofs'],
        to: place(),
        webhook: {
          url: `http://127.0.0.1:${(hook.address() as AddressInfo).port}/reports`,
          secret: 'env:WHOCHANGED_CREDENTIAL_REPORTS',
        },
      },
    ],
  });
  if ('problems' in read) throw new Error(JSON.stringify(read.problems));
  return read.deliveries;
}

const job = (own = deliveries()) =>
  deliverReportsJob({
    deliveries: own,
    s3: clients,
    credentials: { folder: '/nowhere', environment: { WHOCHANGED_CREDENTIAL_REPORTS: KEY } },
    version: '1.0.0',
    archive: undefined,
    metrics,
  });

async function objects(): Promise<Map<string, string>> {
  const client = await clients.s3(parseS3Place(place()));
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket }));
  const found = new Map<string, string>();
  for (const { Key } of Contents) {
    const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key }));
    found.set(Key!, await Body!.transformToString());
  }
  return found;
}

describe('a report on a schedule', () => {
  const FOLDER = 'audit/changes-quarterly/2026-01-01_2026-04-01/soc2-cc8.1.';

  it('is tried again where its webhook fails, and what failed is kept', async () => {
    answer = 503;
    expect(await run(job(), new Date('2026-04-02T00:00:00Z'))).toBe(0);
    const { rows } = await receiver.database.pool.query(
      'select attempts, last_error, delivered_at from report_deliveries',
    );
    expect(rows).toEqual([{ attempts: 1, last_error: 'the receiver answered 503', delivered_at: null }]);
    // Not at once, so that a receiver in trouble is left alone.
    got.length = 0;
    expect(await run(job(), new Date('2026-04-02T00:00:30Z'))).toBe(0);
    expect(got).toEqual([]);
  });

  it('comes into the bucket in every format, and to the webhook, signed', async () => {
    answer = 200;
    expect(await run(job(), new Date('2026-04-02T00:10:00Z'))).toBe(1);
    const found = await objects();
    expect([...found.keys()]).toEqual(
      ['csv', 'html', 'json', 'ndjson', 'ocsf.ndjson', 'oscal.json', 'proofs.tar'].map(
        (extension) => FOLDER + extension,
      ),
    );
    const report = JSON.parse(found.get(`${FOLDER}json`)!);
    expect(report).toMatchObject({
      rows: 5,
      since: '2026-01-01T00:00:00.000Z',
      until: '2026-04-01T00:00:00.000Z',
    });
    expect(found.get(`${FOLDER}csv`)!.trim().split('\r\n')).toHaveLength(1 + 5);
    expect(found.get(`${FOLDER}ocsf.ndjson`)!.trim().split('\n')).toHaveLength(5);
    expect(problemsOfResults(JSON.parse(found.get(`${FOLDER}oscal.json`)!))).toEqual([]);
    expect(found.get(`${FOLDER}html`)).toContain('Sign-off');
    const [head, ...rows] = found.get(`${FOLDER}ndjson`)!.trim().split('\n');
    expect(JSON.parse(head!)).toMatchObject({ type: 'report', populationDigest: report.populationDigest });
    expect(rows).toHaveLength(report.exceptions.length + report.sample.rows.length);

    const { headers, body } = got.at(-1)!;
    const told = JSON.parse(body);
    expect(told).toMatchObject({
      delivery: 'changes-quarterly',
      rows: 5,
      populationDigest: report.populationDigest,
    });
    for (const { name, sha256, bytes } of told.files) {
      const content = found.get(name)!;
      expect([sha256, bytes]).toEqual([
        createHash('sha256').update(content).digest('hex'),
        Buffer.byteLength(content),
      ]);
    }
    const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
    expect(headers['webhook-signature']).toBe(
      `v1,${createHmac('sha256', KEY).update(signed).digest('base64')}`,
    );
    expect(JSON.stringify([...found.values()])).not.toContain(KEY);
  });

  it('comes with proofs that hold without the server', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'whochanged-delivered-'));
    try {
      const keys = join(folder, 'log.keys');
      writeFileSync(keys, formatVerifierKey(verifierOf(signer.origin, createPublicKey(signer.privateKey))));
      const bundle = (await objects()).get(`${FOLDER}proofs.tar`)!;
      execFileSync('tar', ['x', '-C', folder], { input: bundle });
      const { code, output } = await runVerify(['report', folder, '--key-file', keys]);
      expect([code, output]).toEqual([0, expect.stringMatching(/^5 rows, 10 proofs: it holds/)]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('comes once', async () => {
    got.length = 0;
    expect(await run(job(), new Date('2026-05-02T00:00:00Z'))).toBe(0);
    expect(got).toEqual([]);
    expect(await run(job(), new Date('2026-07-02T00:00:00Z'))).toBe(1);
    expect(JSON.parse(got[0]!.body)).toMatchObject({ since: '2026-04-01T00:00:00.000Z', rows: 0 });
  });
});

describe('what ended while nothing ran', () => {
  it('is delivered when it runs again, the oldest first', async () => {
    const daily: ReportDelivery[] = [
      { ...deliveries()[0]!, name: 'daily', every: 'day', formats: ['json'], webhook: undefined },
    ];
    expect(await run(job(daily), new Date('2026-03-03T02:00:00Z'))).toBe(1);
    expect(await run(job(daily), new Date('2026-03-06T02:00:00Z'))).toBe(3);
    const days = [...(await objects()).keys()].filter((key) => key.includes('/daily/'));
    expect(days.map((key) => key.split('/')[2])).toEqual([
      '2026-03-02_2026-03-03',
      '2026-03-03_2026-03-04',
      '2026-03-04_2026-03-05',
      '2026-03-05_2026-03-06',
    ]);
  });

  it('waits for its turn where one fails, and is told by metrics', async () => {
    answer = 503;
    const [quarterly] = deliveries();
    const daily: ReportDelivery[] = [{ ...quarterly!, name: 'told', every: 'day', to: undefined }];
    expect(await run(job(daily), new Date('2026-03-03T02:00:00Z'))).toBe(0);
    expect(await run(job(daily), new Date('2026-03-05T02:00:00Z'))).toBe(0);
    const told = await registry.metrics();
    expect(told).toContain('whochanged_report_deliveries_waiting{delivery="told"} 3');
    expect(told).toContain('whochanged_report_delivery_failures_total{delivery="told"} 2');
    answer = 200;
    expect(await run(job(daily), new Date('2026-03-05T05:00:00Z'))).toBe(3);
    expect(await registry.metrics()).toContain(
      `whochanged_report_delivered_until_timestamp_seconds{delivery="told"} ${Date.UTC(2026, 2, 5) / 1000}`,
    );
  });
});

describe('a period', () => {
  it.each([
    ['day', '2026-03-01T00:00:00Z', '2026-02-28', '2026-03-01'],
    ['week', '2026-03-02T00:00:00Z', '2026-02-23', '2026-03-02'],
    ['week', '2026-03-08T23:59:59Z', '2026-02-23', '2026-03-02'],
    ['month', '2026-01-15T00:00:00Z', '2025-12-01', '2026-01-01'],
    ['quarter', '2026-01-15T00:00:00Z', '2025-10-01', '2026-01-01'],
    ['quarter', '2026-12-31T00:00:00Z', '2026-07-01', '2026-10-01'],
  ] as const)('of a %s before %s', (every, now, since, until) => {
    const found = lastPeriod(every, new Date(now));
    expect(found).toEqual({ since: `${since}T00:00:00.000Z`, until: `${until}T00:00:00.000Z` });
  });
});

it('names every problem of the file', () => {
  const read = readDeliveries({
    deliveries: [
      { name: 'A b', control: 'soc3', every: 'year', formats: ['doc'], too: 's3://x' },
      {
        name: 'a',
        control: 'pci-10.2',
        every: 'day',
        formats: ['csv'],
        environments: ['x'],
        webhook: { url: 'http://example.com', secret: 'plain' },
      },
      { name: 'b', control: 'pci-10.2.1.6', every: 'day', formats: ['proofs'], to: 's3://bucket/x/' },
    ],
  });
  const at = 'problems' in read ? read.problems.map(({ path }) => path.slice(1).join('.')) : [];
  expect(new Set(at)).toEqual(
    new Set([
      '0.too',
      '0.name',
      '0.control',
      '0.formats',
      '0.to',
      '0.every',
      '1.environments',
      '1.webhook.url',
      '1.webhook.secret',
      '2.formats',
    ]),
  );
  expect(JSON.stringify(read)).not.toContain('plain');
});
