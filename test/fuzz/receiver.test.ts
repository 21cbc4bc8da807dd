import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { dumpDatabase } from '../harness/dump.js';
import { Cluster, eventList } from '../harness/events.js';
import { type HostileTarget, startTarget } from '../harness/hostile-target.js';

const SECRET = 'synthetic-fuzz-9d41c7e2b8f0';
const MIB = 1024 * 1024;
/** What whochanged may take at all; less than it has at rest and any of the bombs' contents together. */
const MEMORY_MIB = 512;

let target: HostileTarget;
const cluster = new Cluster();
/** What was answered to anything, searched for the secret in the end. */
let answers = '';

beforeAll(async () => {
  target = await startTarget({ WHOCHANGED_INGEST_MAX_BODY_BYTES: String(256 * MIB) });
  await post(eventList([cluster.deployment('create', 'first', { image: 'web:1' })]));
});
afterAll(() => target?.stop());
afterEach(() => target.mustBeWell());

interface Posted {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: answers of every shape
  json: any;
}

async function send(path: string, token: string, type: string, body: Buffer | string, encoding?: string) {
  const response = await fetch(target.system.http + path, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': type,
      ...(encoding && { 'content-encoding': encoding }),
    },
    body,
  });
  const text = await response.text();
  answers += text;
  return { status: response.status, json: JSON.parse(text) } satisfies Posted;
}

const post = (body: Buffer | string, encoding?: string): Promise<Posted> =>
  send('/ingest/v1/audit/default', target.sourceToken, 'application/json', body, encoding);

const importFile = (name: string, body: Buffer): Promise<Posted> =>
  send(`/v1/imports?cluster=fuzzed&name=${name}`, target.adminToken, 'application/octet-stream', body);

/** A write of a Secret, with the seeded value in it as the apiserver would log it. */
function secretEvent(parts: Record<string, unknown> = {}): Record<string, unknown> {
  const ref = { resource: 'secrets', namespace: 'shop', name: 'db' };
  const object = {
    kind: 'Secret',
    data: { password: Buffer.from(SECRET).toString('base64') },
    stringData: { token: SECRET },
  };
  return { ...cluster.write('create', ref, object), ...parts };
}

const nested = (levels: number, open: string, core: string, close: string) =>
  open.repeat(levels) + core + close.repeat(levels);

describe('a post that is no list of events', () => {
  it('is refused or kept aside, whatever is wrong with its JSON', async () => {
    const whole = eventList([secretEvent(), secretEvent()]);
    const bodies = [
      whole.slice(0, whole.indexOf(SECRET) + SECRET.length),
      whole.slice(0, -3),
      whole.replaceAll('"stringData"', '"stringData'),
      whole.replaceAll(':{', ':{,'),
      whole.replaceAll('":', '" '),
      `\uFEFF${whole}`,
      whole + whole,
      `[${whole}]`,
      `{"kind":"EventList","items":[null,1,"${SECRET}",[],{},true]}`,
      `{"kind":"EventList","items":{"password":"${SECRET}"}}`,
      `{"kind":"Secret","stringData":{"a":"${SECRET}"}}`,
      ']'.repeat(10_000),
      '{"items":['.repeat(5000),
    ];
    for (const body of bodies) {
      const { status, json } = await post(body);
      expect([200, 400]).toContain(status);
      if (status === 400) expect(json.code).toBe('invalid_request');
    }
  });

  it('is read without harm where its bytes were altered at random', async () => {
    const whole = Buffer.from(
      eventList([secretEvent(), cluster.deployment('update', 'first', { image: 'w' })]),
    );
    const alteration = fc.record({
      at: fc.nat(whole.length - 1),
      remove: fc.nat(6),
      insert: fc.oneof(
        fc.uint8Array({ maxLength: 6 }),
        fc.constantFrom('{', '}', '[', ']', '"', '\\', '\\u', ',', ':', '\0', '-', '1e999').map(Buffer.from),
      ),
    });
    const cases = fc.sample(fc.array(alteration, { minLength: 1, maxLength: 4 }), {
      numRuns: 60,
      seed: 20_261_128,
    });
    for (const alterations of cases) {
      let body: Buffer = whole;
      for (const { at, remove, insert } of alterations)
        body = Buffer.concat([body.subarray(0, at), insert, body.subarray(at + remove)]);
      expect([200, 400]).toContain((await post(body)).status);
    }
  });

  it('is taken where its text is not UTF-8, with what is not made visible', async () => {
    const invalid = [
      [0xff],
      [0xc0, 0x80],
      [0xed, 0xa0, 0x80],
      [0xf4, 0x90, 0x80, 0x80],
      [0xe2, 0x82],
      [0x80, 0x80],
    ];
    for (const [n, bytes] of invalid.entries()) {
      const text = eventList([cluster.deployment('create', `utf8-${n}`, { image: 'web@here@' })]);
      const body = Buffer.concat(
        text.split('@here@').flatMap((piece, i) => [Buffer.from(i === 0 ? [] : bytes), Buffer.from(piece)]),
      );
      expect(await post(body)).toMatchObject({ status: 200, json: { stored: 1, quarantined: 0 } });
    }
    const { rows } = await target.database.pool.query(
      `select summary from changes where name like 'utf8-%' and summary like E'%\\uFFFD%'`,
    );
    expect(rows.length).toBe(invalid.length);
  });
});

describe('an event within a batch', () => {
  it('costs only itself where it is nested deeper than can be read', async () => {
    const deep = [
      nested(300, '{"a":', '1', '}'),
      nested(200_000, '[', '', ']'),
      nested(100_000, '{"a":[', `"${SECRET}"`, ']}'),
    ];
    const items = deep.map((_, n) => secretEvent({ auditID: `deep-${n}`, responseObject: '@deep@' }));
    let n = 0;
    const body = eventList([
      ...items,
      cluster.deployment('create', 'beside-deep', { image: 'w' }),
    ]).replaceAll('"@deep@"', () => deep[n++]!);
    expect(await post(body)).toMatchObject({ status: 200, json: { events: 4, stored: 1, quarantined: 3 } });
  });

  it('is stored or kept aside by itself, whatever stands in one of its fields', async () => {
    const odd = [
      null,
      true,
      -1,
      2 ** 53,
      99_999_999_999,
      1.5,
      '@huge@',
      '',
      'x'.repeat(70_000),
      '\0\ud800',
      'a\nb',
      [],
      [[]],
      {},
      { a: 1 },
      '9999-99-99T99:99:99Z',
      '-271821-04-20T00:00:00Z',
      '+275760-09-13T00:00:00.000001Z',
      '0001-01-01T00:00:00Z',
    ];
    const fields = [
      ['level'], ['auditID'], ['stage'], ['requestURI'], ['verb'], ['user'], ['user', 'username'], ['user', 'groups'],
      ['user', 'extra'], ['sourceIPs'], ['userAgent'], ['objectRef'], ['objectRef', 'namespace'], ['objectRef', 'name'],
      ['objectRef', 'uid'], ['objectRef', 'resourceVersion'], ['objectRef', 'subresource'], ['responseStatus'],
      ['responseStatus', 'code'], ['responseStatus', 'message'], ['requestReceivedTimestamp'], ['stageTimestamp'],
      ['annotations'], ['impersonatedUser'], ['requestObject'], ['responseObject'], ['responseObject', 'metadata'],
      ['responseObject', 'metadata', 'resourceVersion'], ['responseObject', 'metadata', 'generation'],
      ['responseObject', 'metadata', 'ownerReferences'], ['responseObject', 'metadata', 'labels'],
      ['responseObject', 'metadata', 'managedFields'], ['responseObject', 'spec', 'template'],
      ['responseObject', 'spec', 'template', 'spec', 'containers'],
    ]; // biome-ignore format: a table
    const events = fields.flatMap((path) =>
      odd.map((value) => {
        const event = cluster.deployment('create', `odd-${path.join('-').toLowerCase()}`, { image: 'w' });
        let at = event as Record<string, Record<string, never>>;
        for (const key of path.slice(0, -1)) at = at[key] ??= {};
        (at as Record<string, unknown>)[path.at(-1)!] = value;
        return event;
      }),
    );
    const text = eventList(events).replaceAll('"@huge@"', `1e400`);
    const { status, json } = await post(text);
    expect(status).toBe(200);
    expect(json.events).toBe(events.length);
    expect(json.stored + json.quarantined + json.duplicates).toBe(events.length);
    // Decoding says what can't be stored; Postgres should find nothing more.
    const { rows } = await target.database.pool.query(
      `select detail, sample from quarantine where reason = 'store_refused'`,
    );
    expect(rows).toEqual([]);
  });

  it('may have keys by which programs in JavaScript are attacked: they are data', async () => {
    const attack =
      '{"__proto__":{"isAdmin":true,"grants":["x"]},"constructor":{"prototype":{"isAdmin":true}},"toString":1}';
    const items = [
      cluster.deployment('create', 'proto', { image: 'w' }, { annotations: '@attack@' }),
      cluster.write(
        'create',
        { resource: 'configmaps', namespace: 'shop', name: '__proto__' },
        { kind: 'ConfigMap', data: '@attack@', metadata: { labels: '@attack@', annotations: '@attack@' } },
      ),
      { ...cluster.deployment('update', 'proto', { image: 'x' }), user: '@attack@' },
      '@attack@',
    ];
    const text = eventList(items).replaceAll('"@attack@"', attack);
    expect(await post(text)).toMatchObject({ status: 200, json: { events: 4 } });
    expect(({} as { isAdmin?: boolean }).isAdmin).toBeUndefined();
    const response = await fetch(
      `${target.system.http}/v1/objects/default/core/configmaps/shop/__proto__/state`,
      { headers: { authorization: `Bearer ${target.adminToken}` } },
    );
    const body = await response.text();
    expect(response.status).toBe(200);
    expect(body).toContain('"__proto__"');
    const whoami = await fetch(`${target.system.http}/v1/whoami`, {
      headers: { authorization: `Bearer ${target.adminToken}` },
    });
    expect(await whoami.text()).not.toContain('isAdmin');
  });
});

describe('a bomb', () => {
  const withinMemory = () => expect(target.memory().highest).toBeLessThan(MEMORY_MIB);

  /** A gzip of a text, then a character again and again, then another text: members of 16 MiB, one after the other. */
  function inflated(head: string, filler: string, bytes: number, tail: string): Buffer {
    const member = gzipSync(Buffer.alloc(16 * MIB, filler));
    const members = Array.from({ length: bytes / (16 * MIB) }, () => member);
    return Buffer.concat([gzipSync(head), ...members, gzipSync(tail)]);
  }

  /** A zstd frame (RFC 8878) of blocks that each say "this byte, 128 KiB of it". */
  function zstdBomb(bytes: number): Buffer {
    const blocks = Math.ceil(bytes / 131_072);
    const frame = Buffer.alloc(6 + blocks * 4, ' ');
    frame.set([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38]);
    for (let n = 0; n < blocks; n++) {
      const last = n === blocks - 1 ? 1 : 0;
      frame.writeUIntLE((131_072 << 3) | (1 << 1) | last, 6 + n * 4, 3);
    }
    return frame;
  }

  it('of gzip is let out piece by piece, and no further than a body may be', async () => {
    const spaces = inflated('{"kind":"EventList","items":[', ' ', 320 * MIB, ']}');
    expect(spaces.length).toBeLessThan(3 * MIB);
    expect(await post(spaces, 'gzip')).toMatchObject({ status: 413, json: { code: 'payload_too_large' } });
    const event = JSON.stringify(secretEvent());
    const one = inflated(`{"items":[${event.slice(0, -1)},"a":"`, 'x', 192 * MIB, '"}]}');
    expect(await post(one, 'gzip')).toMatchObject({ status: 200, json: { quarantined: 1 } });
    withinMemory();
  }, 90_000);

  it('of gzip within gzip, or of zstd, is let out piece by piece too', async () => {
    const twice = gzipSync(inflated('', ' ', 192 * MIB, ''));
    expect((await importFile('twice.gz', twice)).status).toBeLessThan(500);
    expect((await importFile('bomb.zst', zstdBomb(192 * MIB))).status).toBeLessThan(500);
    expect((await post(zstdBomb(MIB), 'zstd')).status).toBe(415);
    withinMemory();
  }, 90_000);
});

it('has not let the seeded secret out: not into an answer, the log, the database or a file', async () => {
  const kept = await dumpDatabase(target.database.pool);
  expect(kept).toContain('quarantine');
  const forms = [
    SECRET,
    Buffer.from(SECRET).toString('base64').slice(0, -4),
    Buffer.from(SECRET).toString('hex'),
  ];
  for (const form of forms) {
    expect(answers.includes(form), 'in an answer').toBe(false);
    expect(target.system.output().includes(form), 'in the log').toBe(false);
    expect(kept.includes(form), 'in the database').toBe(false);
  }
});
