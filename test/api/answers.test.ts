import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { ChangeItem } from '../../api/change-schema.js';
import { allItems, ask } from '../harness/api-client.js';
import { type RunningApi, startApiWithSession } from '../harness/running-api.js';

const SESSION = join(import.meta.dirname, '../fixtures/session');
const WEB = '/v1/objects/default/apps/deployments/shop/web';

let api: RunningApi;
beforeAll(async () => {
  api = await startApiWithSession();
});
afterAll(() => api.stop());

interface RecordedEvent {
  auditID: string;
  stage: string;
  requestURI: string;
  requestReceivedTimestamp: string;
  stageTimestamp: string;
  verb: string;
  responseStatus?: { code?: number };
  objectRef?: { resource?: string; namespace?: string; name?: string; subresource?: string };
  responseObject?: { kind?: string; metadata?: { resourceVersion?: string }; spec?: unknown };
}

/** What the apiserver answered about deploy/web, in order. */
function answersAboutWeb(): RecordedEvent[] {
  return gunzipSync(readFileSync(join(SESSION, 'recording.ndjson.gz')))
    .toString('utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as RecordedEvent)
    .filter(
      ({ stage, verb, requestURI, objectRef, responseObject }) =>
        stage === 'ResponseComplete' &&
        !requestURI.includes('dryRun') &&
        ['create', 'update', 'patch'].includes(verb) &&
        objectRef?.resource === 'deployments' &&
        objectRef.namespace === 'shop' &&
        objectRef.name === 'web' &&
        responseObject?.kind === 'Deployment',
    );
}

describe('an object', () => {
  it('is at any time what the apiserver had last answered', async () => {
    const seen = answersAboutWeb().sort(
      (a, b) =>
        Number(a.responseObject!.metadata!.resourceVersion) -
        Number(b.responseObject!.metadata!.resourceVersion),
    );
    expect(seen.length).toBeGreaterThan(20);
    for (const [i, event] of seen.entries()) {
      const next = seen[i + 1];
      // Between two writes in the same microsecond, and before the next one is received, this is what there was.
      if (next && next.requestReceivedTimestamp <= event.stageTimestamp) continue;
      const { json } = await ask(api, `${WEB}/state?at=${event.stageTimestamp}`);
      expect([json.exists, json.certainty, json.resourceVersion]).toEqual([
        'yes',
        'exact',
        event.responseObject!.metadata!.resourceVersion,
      ]);
      const { spec } = json.object as { spec: { replicas: number; template: unknown } };
      const was = event.responseObject!.spec as typeof spec;
      expect(spec.replicas).toBe(was.replicas);
    }
  });

  it('was not there before it was made, and is gone after it was deleted', async () => {
    expect((await ask(api, `${WEB}/state?at=2026-11-24T13:37:50Z`)).json).toMatchObject({ object: null });
    expect((await ask(api, `${WEB}/state`)).json).toMatchObject({ exists: 'no' });
  });

  it('has a history that holds its changes and its bookkeeping', async () => {
    const history = (await allItems(api, `${WEB}/history`, 25)) as ChangeItem[];
    const changes = (await allItems(
      api,
      '/v1/changes?name=web&resource=deploy&namespace=shop',
      100,
    )) as ChangeItem[];
    expect(history.filter((item) => ['change', 'access'].includes(item.class)).map(({ id }) => id)).toEqual(
      changes.map(({ id }) => id),
    );
    expect(new Set(history.map((item) => item.class))).toContain('status');
    expect(history.map((item) => item.at)).toEqual(
      history
        .map((item) => item.at)
        .sort()
        .reverse(),
    );
  });

  it('differs between two times by what was changed in between', async () => {
    const { items } = (
      await ask(
        api,
        `/v1/changes?name=web&resource=deploy&namespace=shop&field=${encodeURIComponent('spec.template.spec.containers[web].image')}&order=asc`,
      )
    ).json as { items: ChangeItem[] };
    for (const item of items.filter((change) => change.kind === 'update')) {
      const { json } = await ask(api, `${WEB}/compare?from=${before(item.at)}&to=${item.completedAt}`);
      const paths = (json.diff as Array<{ path: string }>).map(({ path }) => path);
      expect(paths).toContain('spec.template.spec.containers[web].image');
      for (const { path } of item.diff!) expect(paths).toContain(path);
    }
  });

  it('can be rolled back: a manifest without what the apiserver sets, and without secrets', async () => {
    const at = '2026-11-24T13:38:05Z';
    const { json } = await ask(api, `${WEB}/rollback?to=${at}`);
    const manifest = parse(json.manifest) as Record<string, Record<string, unknown>>;
    expect(manifest).toMatchObject({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web', namespace: 'shop' },
    });
    expect(Object.keys(manifest)).not.toContain('status');
    for (const field of ['uid', 'resourceVersion', 'generation', 'managedFields', 'creationTimestamp'])
      expect(Object.keys(manifest.metadata!)).not.toContain(field);
    expect(json.warnings.join('\n')).toMatch(/DB_PASSWORD.*secret/);
    const yaml = await ask(api, `${WEB}/rollback?to=${at}`, { accept: 'application/yaml' });
    expect(yaml.headers.get('content-type')).toMatch(/yaml/);
    expect(parse(yaml.text.replace(/^#.*\n/gm, ''))).toEqual(manifest);
  });

  it('that was never seen is said to be so', async () => {
    const answer = await ask(api, '/v1/objects/default/apps/deployments/shop/never/state');
    expect(JSON.stringify(answer.json)).toMatch(/never|nothing is recorded|no object/i);
    expect((await ask(api, '/v1/objects/nowhere/apps/deployments/shop/web/state')).status).toBe(404);
  });
});

function before(at: string): string {
  return new Date(Date.parse(at) - 1).toISOString();
}

describe('an event', () => {
  it('is read back as it was stored: every one has its digest', async () => {
    const events = (await allItems(api, '/v1/events', 1000)) as Array<{ eventID: string; auditID: string }>;
    expect(events).toHaveLength(6458);
    // Each twelfth, all of them being many requests.
    for (const { eventID, auditID } of events.filter((_, i) => i % 12 === 0)) {
      const { json, status } = await ask(api, `/v1/events/${eventID}`);
      expect([eventID, status, json.digestVerified, json.raw.auditID]).toEqual([eventID, 200, true, auditID]);
    }
  });

  it('can be found by its request, with all stages', async () => {
    const { json } = await ask(api, '/v1/events?auditID=f3e74a97-5be4-48ad-a709-229f99eb4153');
    expect(json.items.map((item: { stage: string }) => item.stage).sort()).toEqual([
      'RequestReceived',
      'ResponseComplete',
    ]);
  });
});

describe('people', () => {
  it('have an activity whose counts are those of their changes', async () => {
    const { json } = await ask(api, '/v1/actors/bob%40example.com/activity?limit=1000');
    const items = json.items as ChangeItem[];
    // What others did in his name is his activity too.
    expect(items.some((item) => item.actor.username !== 'bob@example.com')).toBe(true);
    const counted = Object.values(json.kinds as Record<string, number>).reduce(
      (sum, count) => sum + count,
      0,
    );
    expect(counted).toBe(items.length);
    expect(json.kinds.exec).toBe(items.filter((item) => item.kind === 'exec').length);
    expect((await ask(api, '/v1/actors/nobody/activity')).status).toBe(404);
  });

  it('leave traces in access and secret-reads', async () => {
    const access = (await allItems(api, '/v1/access', 50)) as ChangeItem[];
    expect(new Set(access.map((item) => item.kind))).toEqual(
      new Set(['exec', 'attach', 'port_forward', ...access.map((item) => item.kind)]),
    );
    const withRefused = (await allItems(api, '/v1/access?all=true', 50)) as ChangeItem[];
    expect(withRefused.length).toBeGreaterThan(access.length);
    const reads = (await allItems(api, '/v1/secret-reads', 50)) as Array<{ actor: { username: string } }>;
    expect(reads.map((item) => item.actor.username)).toContain('alice@example.com');
    expect(reads.map((item) => item.actor.username).filter((name) => name.startsWith('system:kube'))).toEqual(
      [],
    );
  });
});

it('never gives away a secret, whatever is asked', async () => {
  const secrets = readFileSync(join(SESSION, 'seeded-secrets.txt'), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  expect(secrets.length).toBeGreaterThan(5);
  const forms = secrets.flatMap((secret) => [
    secret,
    ...[0, 1, 2].map((shift) => base64Inside(secret, shift)),
  ]);
  const seen: string[] = [];
  const look = async (path: string) => {
    const { text, status } = await ask(api, path);
    expect(status, path).toBe(200);
    for (const form of forms) if (text.includes(form)) seen.push(`${path}: ${form}`);
  };
  for (const path of [
    '/v1/changes.ndjson?all=true',
    '/v1/changes.csv?all=true',
    '/v1/changes.ndjson?class=derived&class=status',
    '/v1/events?limit=1000',
    '/v1/quarantine',
    '/v1/findings',
    '/v1/secret-reads?all=true',
    '/v1/access?all=true',
    '/v1/sources',
    '/v1/status',
    '/metrics',
  ])
    await look(path);
  const about = (await allItems(
    api,
    '/v1/changes?resource=secrets&resource=deploy&resource=cm&resource=sa',
    200,
  )) as ChangeItem[];
  for (const { id, certainty } of about) {
    await look(`/v1/changes/${id}`);
    if (certainty?.after) await look(`/v1/changes/${id}/after`);
  }
  expect(seen).toEqual([]);
  for (const form of forms) expect(api.log()).not.toContain(form);
});

/** What of a secret's base64 doesn't depend on what stands around it. */
function base64Inside(secret: string, shift: number): string {
  const text = Buffer.from('x'.repeat(shift) + secret).toString('base64');
  return text.slice(shift === 0 ? 0 : 4, -4);
}
