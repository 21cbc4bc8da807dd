import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask } from '../../harness/api-client.js';
import { Cluster, eventList } from '../../harness/events.js';
import { type RunningApi, startApi } from '../../harness/running-api.js';
import { startS3, type TestS3 } from '../../harness/s3.js';
import { type S3Proxy, startS3Proxy } from '../../harness/s3-proxy.js';

const VERSION = '3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrH';

let s3: TestS3;
let proxy: S3Proxy;
let api: RunningApi;
beforeAll(async () => {
  s3 = await startS3();
  // In a bucket with versions, which fauxqs has none of, S3 tells which one it gave.
  proxy = await startS3Proxy(s3.endpoint);
  proxy.treat(({ key }) => (key === '' ? undefined : { adding: { 'x-amz-version-id': VERSION } }));
  api = await startApi({ WHOCHANGED_S3_LIST_SECONDS: '1' });
});
afterAll(async () => {
  await api.stop();
  await proxy.stop();
  await s3.stop();
});

describe('a request that comes by webhook and in an object', () => {
  it('is one change, told by both, with the object named, to a tenant of its namespace too', async () => {
    const events = ['web', 'db'].map((name) => new Cluster().deployment('create', name, { image: 'web:1' }));
    await api.post(eventList(events));
    const bucket = await s3.createBucket();
    const { etag } = await s3.put(bucket, 'audit/1.json', eventList(events));
    const body = {
      name: 'bucket',
      cluster: 'default',
      bucket,
      prefix: 'audit/',
      endpoint: proxy.endpoint,
      pathStyle: true,
    };
    expect((await ask(api, '/v1/sources/s3', { method: 'POST', body })).status).toBe(201);
    await expect
      .poll(async () => (await ask(api, '/v1/sources/bucket/status')).json.objects, { timeout: 30_000 })
      .toEqual({ done: 1 });

    expect((await ask(api, '/v1/sources/bucket/objects')).json.items).toMatchObject([
      { bucket, key: 'audit/1.json', etag, versionID: VERSION, state: 'done', events: 2, error: null },
    ]);

    const { items } = (await ask(api, '/v1/changes')).json;
    expect(items.map((item: { object: { name: string } }) => item.object.name).sort()).toEqual(['db', 'web']);
    const { token } = (
      await ask(api, '/v1/tokens', {
        method: 'POST',
        body: { name: 'shop', role: 'reader', clusters: ['default'], namespaces: ['shop'] },
      })
    ).json;
    for (const { id } of items) {
      for (const asked of [{}, { token }]) {
        const { sources } = (await ask(api, `/v1/changes/${id}`, asked)).json;
        expect(sources).toMatchObject([
          { kind: 'webhook', agreement: 'equal', stages: [{ stage: 'ResponseComplete' }] },
          {
            source: 'bucket',
            kind: 's3',
            agreement: 'equal',
            stages: [{ object: { bucket, key: 'audit/1.json', etag, versionID: VERSION } }],
          },
        ]);
        expect(sources[0].stages[0].object).toBeUndefined();
      }
    }
    const { stdout } = await api.cli(['show', items[0].id]);
    expect(stdout).toContain(
      `bucket (s3): ResponseComplete in s3://${bucket}/audit/1.json, the same as others`,
    );
  });
});
