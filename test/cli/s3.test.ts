import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask } from '../harness/api-client.js';
import { runShell } from '../harness/cli.js';
import { Cluster, eventList } from '../harness/events.js';
import { asParquet } from '../harness/parquet.js';
import { type RunningApi, startApi } from '../harness/running-api.js';
import { CREDENTIALS, startS3, type TestS3 } from '../harness/s3.js';
import { startS3Proxy } from '../harness/s3-proxy.js';
import { ENVELOPES } from '../ingest/formats/envelopes.js';

let s3: TestS3;
let api: RunningApi;
beforeAll(async () => {
  s3 = await startS3();
  api = await startApi({ WHOCHANGED_S3_LIST_SECONDS: '1' });
});
afterAll(async () => {
  await api.stop();
  await s3.stop();
});

const cluster = new Cluster();
const lines = (count: number, prefix: string) =>
  Array.from({ length: count }, (_, i) =>
    JSON.stringify(cluster.deployment('create', `${prefix}-${i}`, { image: 'web:1' })),
  ).join('\n');
const at = (...args: string[]) => [...args, '--endpoint', s3.endpoint, '--path-style'];

async function status(name: string) {
  return (await ask(api, `/v1/sources/${name}/status`)).json;
}

describe('source add s3://', () => {
  it('reads a prefix and follows it; source status says how far it is', async () => {
    const bucket = await s3.createBucket();
    await s3.put(bucket, 'prod/2026/03/02/a.gz', gzipSync(lines(5, 'a')));
    await s3.put(
      bucket,
      'prod/2026/03/02/b.json',
      eventList([cluster.deployment('create', 'b', { image: 'b' })]),
    );
    const added = await api.cli(at('source', 'add', `s3://${bucket}/prod/`, '--cluster', 'prod'));
    expect(added).toMatchObject({ code: 0, stdout: `${bucket}-prod\n` });
    await expect
      .poll(async () => (await status(`${bucket}-prod`)).objects, { timeout: 20_000 })
      .toEqual({ done: 2 });
    await s3.put(bucket, 'prod/2026/03/03/c.gz', gzipSync(lines(1, 'c')));
    await expect
      .poll(async () => (await status(`${bucket}-prod`)).objects, { timeout: 20_000 })
      .toEqual({ done: 3 });
    expect(await status(`${bucket}-prod`)).toMatchObject({
      kind: 's3',
      cluster: 'prod',
      state: 'ok',
      lagSeconds: 0,
      events: 7,
      duplicates: 0,
      skipped: 0,
      salvaged: 0,
      location: { bucket, prefix: 'prod/', endpoint: s3.endpoint },
      listing: { error: null },
      queue: null,
      lastError: null,
    });
    const table = await api.cli(['source', 'status']);
    expect(table.stdout).toMatch(new RegExp(`^${bucket}-prod +prod +s3 +ok +0.0s +3 done +7 +0`, 'm'));
    const one = await api.cli(['source', 'status', `${bucket}-prod`]);
    expect(one.stdout).toContain(`s3://${bucket}/prod/ at ${s3.endpoint}, format auto`);
    const objects = await api.cli(['source', 'objects', `${bucket}-prod`, '-o', 'json']);
    expect(
      (JSON.parse(objects.stdout).items as Array<{ key: string; state: string; events: number }>)
        .map(({ key, state, events }) => [key, state, events])
        .sort(),
    ).toEqual([
      ['prod/2026/03/02/a.gz', 'done', 5],
      ['prod/2026/03/02/b.json', 'done', 1],
      ['prod/2026/03/03/c.gz', 'done', 1],
    ]);
    const metrics = await ask(api, '/metrics');
    expect(metrics.text).toContain(`whochanged_s3_objects_total{source="${bucket}-prod",result="done"} 3`);
    expect(`${api.log()}${one.stdout}${metrics.text}`).not.toContain(CREDENTIALS.AWS_SECRET_ACCESS_KEY);
  });

  it('says what is wrong with what it is given', async () => {
    const bad = async (...args: string[]) => {
      const { code, stderr } = await api.cli(['source', 'add', ...args, '--cluster', 'prod']);
      return { code, problem: stderr.split('\n')[0] };
    };
    expect(await bad('s3://')).toEqual({ code: 2, problem: 'whochanged: s3://: no bucket' });
    expect(await bad('s3://audit', '--format', 'xml')).toEqual({
      code: 2,
      problem: 'whochanged: format: there is no "xml"',
    });
    expect(await bad('s3://audit', '--endpoint', 'https://key:secret@minio.example.com')).toEqual({
      code: 2,
      problem: 'whochanged: endpoint: it holds credentials',
    });
    expect(await bad('s3://audit', '--external-id', 'abc')).toMatchObject({ code: 2 });
    expect(await bad('prod-x', '--region', 'eu-west-1')).toEqual({
      code: 2,
      problem: 'whochanged: --region is for a bucket',
    });
    const nobody = await api.cli(at('source', 'add', 's3://no-such-bucket-here', '--cluster', 'prod'));
    expect(nobody.code).toBe(0);
    await expect
      .poll(async () => (await status('no-such-bucket-here')).listing.error?.code, { timeout: 20_000 })
      .toBe('no_such_bucket');
    expect(await status('no-such-bucket-here')).toMatchObject({ state: 'failing' });
    const { stdout } = await api.cli(['source', 'status', 'no-such-bucket-here']);
    expect(stdout).toContain('Listing fails: there is no bucket at s3://no-such-bucket-here/');
  });
});

describe('source status', () => {
  it('shows what fails and when it is tried again; source retry does that at once', async () => {
    const proxy = await startS3Proxy(s3.endpoint);
    try {
      const bucket = await s3.createBucket();
      await s3.put(bucket, 'a.gz', gzipSync(lines(2, 'denied')));
      proxy.treat(({ key }) => (key === 'a.gz' ? { status: 403, code: 'AccessDenied' } : undefined));
      const there = ['--endpoint', proxy.endpoint, '--path-style', '--name', 'denied'];
      await api.cli(['source', 'add', `s3://${bucket}`, '--cluster', 'prod', ...there]);
      const missing = `s3:GetObject on arn:aws:s3:::${bucket}/a.gz is not allowed`;
      await expect
        .poll(async () => (await api.cli(['source', 'status'])).stdout, { timeout: 30_000 })
        .toMatch(new RegExp(`^denied +prod +s3 .* 1 failed .* in [\\d.]+s? .*${missing}$`, 'm'));
      const { stdout } = await api.cli(['source', 'status', 'denied']);
      expect(stdout).toMatch(/^Next retry: +(in [\d.]+|now)/m);
      expect(stdout).toMatch(new RegExp(`^Last error \\(failed, attempt \\d, .* ago\\): ${missing}$`, 'm'));
      expect(stdout).toContain('allow s3:GetObject to the identity that whochanged uses');
      proxy.treat(() => undefined);
      expect((await api.cli(['source', 'retry', 'denied'])).stdout).toBe('1 objects are tried again\n');
      await expect
        .poll(async () => (await status('denied')).objects, { timeout: 30_000 })
        .toEqual({ done: 1 });
      expect(await status('denied')).toMatchObject({ events: 2, lastError: null, nextRetryAt: null });
    } finally {
      await proxy.stop();
    }
  });
});

describe('what a format skips and salvages', () => {
  it('is counted in source status and in metrics', async () => {
    const bucket = await s3.createBucket();
    await s3.put(bucket, 'PT1H.json', readFileSync(join(ENVELOPES, 'aks/storage-account.json')));
    await api.cli(at('source', 'add', `s3://${bucket}`, '--cluster', 'aks', '--name', 'aks-bucket'));
    await expect
      .poll(async () => (await status('aks-bucket')).objects, { timeout: 20_000 })
      .toEqual({ done: 1 });
    expect(await status('aks-bucket')).toMatchObject({ skipped: 2, salvaged: 1 });
    const { stdout } = await api.cli(['source', 'status', 'aks-bucket']);
    expect(stdout).toContain('2 skipped (no audit events), 1 salvaged (cut off)');
    const { text } = await ask(api, '/metrics');
    expect(text).toContain(
      'whochanged_ingest_skipped_records_total{source="aks-bucket",reason="other_log_category"} 2',
    );
    expect(text).toContain('whochanged_ingest_salvaged_events_total{source="aks-bucket"} 1');
  });
});

describe('a record that was cut', () => {
  it('is an open gap that completeness and gaps show, whatever of it could be salvaged', async () => {
    const bucket = await s3.createBucket();
    // In Go's order of fields: what a cut takes are the bodies and what stands behind them.
    const [whole, cut] = [10, 20_000].map((length): Record<string, unknown> => {
      const { requestObject, responseObject, requestReceivedTimestamp, stageTimestamp, ...head } =
        cluster.deployment('create', `cut-${length}`, { image: `web:${'x'.repeat(length)}` });
      return { ...head, requestObject, responseObject, requestReceivedTimestamp, stageTimestamp };
    });
    // As a diagnostic setting writes it to a storage account: the Event is a text, of 16 KiB at the most.
    const record = (event: unknown) =>
      `${JSON.stringify({
        category: 'kube-audit-admin',
        time: '2026-03-02T09:00:02.1234567Z',
        resourceId: '/SUBSCRIPTIONS/0/MANAGEDCLUSTERS/PROD',
        properties: { log: JSON.stringify(event).slice(0, 16 * 1024), pod: 'kube-apiserver-1' },
      })}\n`;
    await s3.put(bucket, 'y=2026/m=03/d=02/h=09/m=00/PT1H.json', record(whole) + record(cut));
    await api.cli(at('source', 'add', `s3://${bucket}`, '--cluster', 'cut', '--name', 'aks-cut'));
    await expect.poll(async () => (await status('aks-cut')).salvaged, { timeout: 20_000 }).toBe(1);

    const gaps = async () =>
      (await ask(api, '/v1/gaps?source=aks-cut&state=open')).json.items as Array<Record<string, unknown>>;
    // The job is started after a commit, or by its schedule: it may be at work already.
    await expect
      .poll(
        async () => {
          await ask(api, '/v1/jobs/find-gaps/run', { method: 'POST' });
          return gaps();
        },
        { timeout: 20_000 },
      )
      .toMatchObject([{ cause: 'truncated', missing: 1, evidence: { auditIDs: [cut!.auditID] } }]);
    const [gap] = await gaps();
    expect(Date.parse(gap!.since as string)).toBeGreaterThan(0);
    const table = await api.cli(['gaps', '--source', 'aks-cut']);
    expect(table.stdout).toMatch(/^\d+ +aks-cut +truncated .* 1 +open /m);
    const span = ['--since', gap!.since as string, '--until', gap!.until as string];
    const shown = await api.cli([
      'completeness',
      '--source',
      'aks-cut',
      ...span,
      '--exit-code',
      '-o',
      'json',
    ]);
    expect(shown.code).toBe(1);
    expect(JSON.parse(shown.stdout)).toMatchObject({
      verdict: 'incomplete',
      items: [{ source: 'aks-cut', verdict: 'incomplete', gaps: 1, reasons: ['gaps', 'no_counters'] }],
    });
    // Who did what is there; what it held is not, and is not made up.
    const changes = await ask(api, '/v1/changes?cluster=cut&limit=10');
    expect(changes.json.completeness).toMatchObject({ verdict: 'incomplete', gaps: 1 });
    const change = changes.json.items.find((item: { auditID: string }) => item.auditID === cut!.auditID);
    expect(change).toMatchObject({ verb: 'create', object: { name: 'cut-20000', namespace: 'shop' } });
  });
});

describe('backfill', () => {
  it('reads the range that was asked for, follows its progress, and is resumed by asking again', async () => {
    const bucket = await s3.createBucket();
    for (const day of ['01', '10', '11', '12', '25'])
      await s3.put(bucket, `logs/dt=2026-02-${day}/x.gz`, gzipSync(lines(3, `feb-${day}`)));
    const args = at('backfill', `s3://${bucket}/logs/`, '--cluster', 'prod', '--utc');
    const range = ['--from', '2026-02-10T00:00:00Z', '--to', '2026-02-12T00:00:00Z'];
    const first = await api.cli([...args, ...range]);
    // A day more on either side of the range: 10, 11, and 12; 09 has no object.
    expect(first).toMatchObject({
      code: 0,
      stdout: 'done: 3 objects (3 done), 9 events, 0 of them known before, 0 quarantined\n',
    });
    expect(first.stderr).toMatch(/^backfill \d+: 100% .*3 of 3 objects, 9 events\n$/);
    const again = await api.cli([...args, ...range, '-o', 'json']);
    expect(JSON.parse(again.stdout)).toMatchObject({ state: 'done', found: 3, finished: 3, events: 9 });
    const all = await api.cli([...args, '-o', 'json']);
    expect(JSON.parse(all.stdout)).toMatchObject({ state: 'done', found: 5, events: 15, duplicates: 0 });
    const { stdout } = await api.cli(['backfill', 'list', '-o', 'json']);
    expect(JSON.parse(stdout).items.map((item: { state: string }) => item.state)).toEqual([
      'done',
      'done',
      'done',
    ]);
    // It is not followed: what comes later is not read.
    expect((await status(`${bucket}-logs`)).listing).toBeNull();
  });

  it('goes on in the server when the command is interrupted, and is followed again', async () => {
    const proxy = await startS3Proxy(s3.endpoint);
    try {
      const bucket = await s3.createBucket();
      for (const name of ['a', 'b', 'c']) await s3.put(bucket, name, lines(2, `interrupted-${name}`));
      let release = () => {};
      const until = new Promise<void>((done) => {
        release = done;
      });
      let reads = 0;
      proxy.treat(({ key }) => (key === 'b' && reads++ === 0 ? { cutAfter: 100, until } : undefined));
      const args = [
        'backfill',
        `s3://${bucket}`,
        '--cluster',
        'prod',
        '--endpoint',
        proxy.endpoint,
        '--path-style',
      ];
      const detached = await api.cli([...args, '--detach']);
      const id = Number(detached.stdout);
      await expect.poll(() => reads, { timeout: 20_000 }).toBe(1);
      release();
      const followed = await api.cli([...args, '-o', 'json']);
      // The same one where it was not finished yet; else nothing is left to read for another.
      expect(JSON.parse(followed.stdout)).toMatchObject({
        state: 'done',
        found: 3,
        events: 6,
        duplicates: 0,
      });
      const { items } = JSON.parse((await api.cli(['backfill', 'list', '-o', 'json'])).stdout);
      expect(items.find((item: { id: number }) => item.id === id)).toBeDefined();
    } finally {
      await proxy.stop();
    }
  });

  it('stops following where somebody has to do something, and says what', async () => {
    const { code, stderr } = await api.cli(at('backfill', 's3://nothing-here/x', '--cluster', 'prod'));
    expect(code).toBe(5);
    expect(stderr).toContain('it stands: there is no bucket at s3://nothing-here/x');
    const usage = await api.cli(['backfill', 's3://audit/x']);
    expect(usage).toMatchObject({ code: 2, stderr: expect.stringContaining('--cluster is missing') });
  });
});

describe('import', () => {
  it('takes files of any packing and stdin, and passes over what it has', async () => {
    const folder = join(api.folder, 'logs');
    mkdirSync(folder);
    writeFileSync(join(folder, 'audit.log'), lines(4, 'imported'));
    writeFileSync(join(folder, 'audit-1.log.gz'), gzipSync(lines(3, 'rotated')));
    const files = [join(folder, 'audit.log'), join(folder, 'audit-1.log.gz')];
    const first = await api.cli(['import', ...files, '--cluster', 'east', '-o', 'json']);
    expect(first.code).toBe(0);
    expect(JSON.parse(first.stdout).items).toMatchObject([
      { result: 'imported', events: 4, new: 4, duplicates: 0, quarantined: 0 },
      { result: 'imported', events: 3, new: 3 },
    ]);
    expect(first.stderr).toMatch(/^import: 100% /);
    // One has grown: what of it is known is recognised. The other is passed over.
    writeFileSync(files[0]!, lines(1, 'more'), { flag: 'a' });
    const again = await api.cli(['import', ...files, '--cluster', 'east', '-o', 'json']);
    expect(JSON.parse(again.stdout).items).toMatchObject([
      { result: 'imported', events: 5, new: 1, duplicates: 4 },
      { result: 'known', events: 0 },
    ]);
    const stdin = await runShell(`cat ${files[1]} | $CLI import - --cluster east -o json`, {
      folder: api.folder,
      env: { WHOCHANGED_URL: api.http, WHOCHANGED_TOKEN: api.adminToken },
    });
    expect(JSON.parse(stdin.stdout).items).toMatchObject([{ file: '-', events: 3, new: 0, duplicates: 3 }]);
    expect(await status('import-east')).toMatchObject({ kind: 'import', events: 8, objects: { done: 4 } });
  });

  it('goes on after a connection that broke at nine tenths: all is there once', async () => {
    // Nine tenths are more than one part (ingest/parts.ts).
    const count = 3000;
    const text = lines(count, 'broken-off');
    const file = join(api.folder, 'broken-off.log');
    writeFileSync(file, text);
    const stored = async () => {
      const { rows } = await api.pool.query(
        `select count(*)::int as events, count(distinct digest)::int as distinct,
                (select count(*)::int from changes c where c.cluster_id = min(e.cluster_id)) as changes
           from events e where source_id = (select id from sources where name = 'import-broken')`,
      );
      return rows[0] as { events: number; distinct: number; changes: number };
    };
    const sha256 = createHash('sha256').update(text).digest('hex');
    const query = new URLSearchParams({
      cluster: 'broken',
      name: file,
      sha256,
      size: String(text.length),
    });
    const post = request(`${api.http}/v1/imports?${query}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${api.adminToken}`,
        'content-type': 'application/octet-stream',
        'content-length': Buffer.byteLength(text),
      },
    });
    const broken = new Promise<Error>((resolve) => post.once('error', resolve));
    post.write(text.slice(0, Math.round(text.length * 0.9)));
    await expect.poll(async () => (await stored()).events, { timeout: 20_000 }).toBeGreaterThan(0);
    post.destroy();
    expect(await broken).toMatchObject({ code: 'ECONNRESET' });

    const again = await api.cli(['import', file, '--cluster', 'broken', '-o', 'json']);
    expect(again).toMatchObject({ code: 0 });
    const [item] = JSON.parse(again.stdout).items;
    expect(item).toMatchObject({ result: 'imported', events: count, quarantined: 0 });
    expect(item.duplicates).toBeGreaterThan(0);
    expect(item.new + item.duplicates).toBe(count);
    expect(await stored()).toEqual({ events: count, distinct: count, changes: count });
    expect(await status('import-broken')).toMatchObject({ events: count, objects: { done: 1 } });
  });

  it('keeps what is good of a broken file, and says so each time', async () => {
    const whole = gzipSync(lines(400, 'cut'));
    writeFileSync(join(api.folder, 'cut.gz'), whole.subarray(0, whole.length - 200));
    const read = async () => {
      const args = ['import', join(api.folder, 'cut.gz'), '--cluster', 'cut', '-o', 'json'];
      const { code, stdout, stderr } = await api.cli(args);
      expect(code).toBe(5);
      expect(stderr).toContain('gzip: it is cut off');
      const [item] = JSON.parse(stdout).items;
      expect(item).toMatchObject({ result: 'damaged' });
      expect(item.quarantined).toBeGreaterThanOrEqual(1);
      return item as { events: number; new: number; duplicates: number };
    };
    const first = await read();
    expect(first.events).toBeGreaterThan(300);
    expect(first.duplicates).toBe(0);
    // Read with more care, it may give more, and gives nothing twice.
    const second = await read();
    expect(second.events).toBeGreaterThanOrEqual(first.events);
    expect(second.duplicates).toBe(first.events);
    expect(await status('import-cut')).toMatchObject({ events: second.events, objects: { damaged: 1 } });
  });

  it('reads Parquet, one file in memory at a time and none that is too large for it', async () => {
    const lake = join(api.folder, 'lake.parquet');
    const ndjson = readFileSync(join(ENVELOPES, 'ocsf/security-lake-1.1.ndjson'), 'utf8');
    const golden = JSON.parse(
      readFileSync(join(ENVELOPES, 'ocsf/security-lake-1.1.golden.json'), 'utf8'),
    ) as { events: unknown[]; skipped: Record<string, number>; rejections: unknown[] };
    writeFileSync(lake, await asParquet(ndjson, 'zstd'));
    const large = join(api.folder, 'large.parquet');
    writeFileSync(large, 'PAR1');
    truncateSync(large, 65 * 1024 * 1024);
    const args = ['import', lake, large, '--cluster', 'lake', '-o', 'json'];
    const { code, stdout, stderr } = await api.cli(args);
    expect(JSON.parse(stdout).items).toMatchObject([
      {
        result: 'imported',
        events: golden.events.length,
        new: golden.events.length,
        skipped: Object.values(golden.skipped).reduce((sum, count) => sum + count, 0),
        quarantined: golden.rejections.length,
      },
      { result: 'damaged', events: 0 },
    ]);
    expect(code).toBe(5);
    expect(stderr).toContain(`${large}: the file is Parquet of more than 64 MiB`);
  });

  it('says of a file of no known format what it is, and reads it once its format is named', async () => {
    const file = join(api.folder, 'unknown.log');
    // It is refused long before all of it is sent.
    writeFileSync(file, `{"no":"${'x'.repeat(64 * 1024)}"}\n`.repeat(40) + lines(2, 'known-to-us'));
    const refused = await api.cli(['import', file, '--cluster', 'named', '-o', 'json']);
    expect(JSON.parse(refused.stdout).items).toMatchObject([{ result: 'damaged', events: 0 }]);
    expect(refused).toMatchObject({
      code: 5,
      stderr: expect.stringContaining(
        'none of the known audit log formats: record 1 is a JSON object with the fields no',
      ),
    });
    const named = ['import', file, '--cluster', 'named', '--format', 'audit-log', '-o', 'json'];
    expect(JSON.parse((await api.cli(named)).stdout).items).toMatchObject([
      { result: 'imported', events: 2, new: 2, quarantined: 40 },
    ]);
  });

  it('says what it wants', async () => {
    expect(await api.cli(['import', 'no-such-file', '--cluster', 'east'])).toMatchObject({
      code: 2,
      stderr: 'whochanged: cannot read no-such-file: ENOENT\n',
    });
    expect((await api.cli(['import', '-'])).stderr).toContain('say either --cluster or --source');
    writeFileSync(join(api.folder, 'one.log'), lines(1, 'one'));
    expect(await api.cli(['import', join(api.folder, 'one.log'), '--source', 'nobody'])).toMatchObject({
      code: 4,
    });
  });
});
