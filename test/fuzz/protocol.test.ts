import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, eventList } from '../harness/events.js';
import { type HostileTarget, startTarget } from '../harness/hostile-target.js';
import { exchange, type RawExchange } from '../harness/raw-socket.js';

const MIB = 1024 * 1024;
const HEADERS_SECONDS = 1;
const BODY_SECONDS = 2;
/** Beside the limits: node looks once a second, and this machine may be busy. */
const LENIENCE_MS = 6000;

let target: HostileTarget;
const cluster = new Cluster();

beforeAll(async () => {
  target = await startTarget({
    WHOCHANGED_HEADERS_TIMEOUT_SECONDS: String(HEADERS_SECONDS),
    WHOCHANGED_BODY_TIMEOUT_SECONDS: String(BODY_SECONDS),
  });
});
afterAll(() => target?.stop());
afterEach(() => target.mustBeWell());

const talk = (pieces: ReadonlyArray<string | Buffer>, options?: { pauseMs?: number; quietMs?: number }) =>
  exchange(target.system.http, pieces, options);

const RECEIVER = '/ingest/v1/audit/default';
const authorization = () => `Authorization: Bearer ${target.sourceToken}\r\n`;

/** A whole request that stores an object of this name. */
function storing(name: string): string {
  const body = eventList([cluster.deployment('create', name, { image: 'w' })]);
  return `POST ${RECEIVER} HTTP/1.1\r\nHost: x\r\n${authorization()}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

async function stored(name: string): Promise<boolean> {
  const { rowCount } = await target.database.pool.query('select from changes where name = $1', [name]);
  return rowCount! > 0;
}

const succeeded = ({ statuses }: RawExchange) => statuses.filter((status) => status < 300).length;

describe('a request whose end could be told in two ways', () => {
  const post = (headers: string, body: string) =>
    `POST ${RECEIVER} HTTP/1.1\r\nHost: x\r\n${authorization()}${headers}\r\n${body}`;
  const list = '{"kind":"EventList","items":[]}';
  const chunk = `${list.length.toString(16)}\r\n${list}\r\n0\r\n\r\n`;

  /** Each is followed by a request that a proxy before us would have taken for the first one's body. */
  const SHAPES: Record<string, () => string> = {
    'Content-Length beside Transfer-Encoding': () =>
      post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n'),
    'Transfer-Encoding beside Content-Length': () =>
      post('Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', '0\r\n\r\n'),
    'two Content-Lengths': () => post(`Content-Length: ${list.length}\r\nContent-Length: 0\r\n`, list),
    'a Content-Length that is a list': () => post(`Content-Length: ${list.length}, 0\r\n`, list),
    'a Content-Length with a sign': () => post(`Content-Length: +${list.length}\r\n`, list),
    'a Content-Length in hexadecimal': () => post('Content-Length: 0x1f\r\n', list),
    'a negative Content-Length': () => post('Content-Length: -1\r\n', list),
    'a Content-Length beyond all numbers': () => post(`Content-Length: ${'9'.repeat(40)}\r\n`, list),
    'Transfer-Encoding twice': () =>
      post('Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n', chunk),
    'a Transfer-Encoding that is none': () => post('Transfer-Encoding: xchunked\r\n', chunk),
    'a Transfer-Encoding with a tab': () => post('Transfer-Encoding:\tchunked, identity\r\n', chunk),
    'a space before the colon': () => post('Transfer-Encoding : chunked\r\n', chunk),
    'a folded header': () => post('X-A: b\r\n Transfer-Encoding: chunked\r\n', chunk),
    'a header that ends by LF only': () => post('X-A: b\nTransfer-Encoding: chunked\r\n', chunk),
    'chunks that end by LF only': () =>
      post('Transfer-Encoding: chunked\r\n', chunk.replaceAll('\r\n', '\n')),
    'a chunk longer than it says': () => post('Transfer-Encoding: chunked\r\n', `1\r\n${list}\r\n0\r\n\r\n`),
    'a chunk size beyond all numbers': () =>
      post('Transfer-Encoding: chunked\r\n', `${'f'.repeat(20)}\r\n${list}\r\n0\r\n\r\n`),
    'a chunk size with a sign': () => post('Transfer-Encoding: chunked\r\n', `+1f\r\n${list}\r\n0\r\n\r\n`),
    'a NUL in a header': () => post('X-A: a\0b\r\nContent-Length: 0\r\n', ''),
    'a CR in a header': () => post('X-A: a\rContent-Length: 5\r\nContent-Length: 0\r\n', ''),
  };

  it.each(Object.keys(SHAPES))('%s: is refused, and so is what follows it', async (name) => {
    const smuggled = `smuggled-${randomBytes(4).toString('hex')}`;
    const said = await talk([SHAPES[name]!() + storing(smuggled)]);
    expect({ succeeded: succeeded(said), closed: said.closed }).toEqual({ succeeded: 0, closed: true });
    expect(await stored(smuggled)).toBe(false);
  });

  it('is not what chunk extensions, trailers or a request behind another make of it', async () => {
    const name = `pipelined-${randomBytes(4).toString('hex')}`;
    const extended = post(
      'Transfer-Encoding: chunked\r\nTrailer: X-T\r\n',
      `${list.length.toString(16)};a=b\r\n${list}\r\n0\r\nX-T: Content-Length: 5\r\n\r\n`,
    );
    const said = await talk([extended + storing(name)], { quietMs: 2000 });
    expect(said.statuses).toEqual([200, 200]);
    expect(await stored(name)).toBe(true);
  });

  it('is no way to send chunk extensions without end', async () => {
    const head = post('Transfer-Encoding: chunked\r\n', '');
    const said = await talk([head, `1;${'a'.repeat(20_000)}\r\n{\r\n`], { quietMs: 1500 });
    expect(succeeded(said)).toBe(0);
    expect(said.closed).toBe(true);
  });
});

describe('a request that is too much', () => {
  it.each<[string, () => string | Buffer, number]>([
    ['a URL of 20 KB', () => `GET /v1/changes?name=${'a'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 431],
    [
      'a header of 20 KB',
      () => `GET /v1/changes HTTP/1.1\r\nHost: x\r\nX-A: ${'a'.repeat(20_000)}\r\n\r\n`,
      431,
    ],
    [
      'thousands of headers',
      () => `GET /v1/changes HTTP/1.1\r\nHost: x\r\n${'X-A: b\r\n'.repeat(6000)}\r\n`,
      431,
    ],
    ['no HTTP at all', () => randomBytes(4096), 400],
    ['TLS on the plain port', () => Buffer.from('16030100c8010000c4030300', 'hex'), 400],
    ['HTTP/2 by prior knowledge', () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
    ['a method that is none', () => 'STEAL /v1/tokens HTTP/1.1\r\nHost: x\r\n\r\n', 400],
    ['a request without Host', () => 'GET /v1/changes HTTP/1.1\r\n\r\n', 400],
  ])('%s: is refused', async (_name, request, status) => {
    const said = await talk([request()], { quietMs: 1500 });
    expect(said.statuses.slice(0, 1)).toEqual([status]);
    expect(said.closed).toBe(true);
    // Nothing of us stands in it: no stack, no path, no name of a library.
    expect(said.answer).not.toMatch(/at .*\.[jt]s|node_modules|fastify|\/work\//i);
  });

  it('is a body beyond the limit of the API, whether its length is told or not', async () => {
    const token = `Authorization: Bearer ${target.adminToken}\r\nContent-Type: application/json\r\n`;
    const told = `POST /v1/tokens HTTP/1.1\r\nHost: x\r\n${token}Content-Length: ${2 * MIB}\r\n\r\n`;
    expect((await talk([told, '{"a":"'])).statuses).toEqual([413]);
    const untold = `POST /v1/tokens HTTP/1.1\r\nHost: x\r\n${token}Transfer-Encoding: chunked\r\n\r\n`;
    const piece = `${(65_536).toString(16)}\r\n${' '.repeat(65_536)}\r\n`;
    expect((await talk([untold, ...Array.from({ length: 20 }, () => piece)])).statuses).toEqual([413]);
  });
});

describe('a client that is slow', () => {
  it('with its headers loses its connection when they are late, and many of them harm nobody', async () => {
    const before = target.memory().now;
    const slow = Array.from({ length: 200 }, () =>
      talk(['GET /v1/changes HTTP/1.1\r\nHost: x\r\n', ...Array.from({ length: 30 }, () => 'X-A: b\r\n')], {
        pauseMs: 400,
        quietMs: LENIENCE_MS,
      }),
    );
    await target.mustBeWell();
    const ends = await Promise.all(slow);
    for (const { closed, milliseconds, statuses } of ends) {
      expect(closed).toBe(true);
      expect(statuses.filter((status) => status !== 408)).toEqual([]);
      expect(milliseconds).toBeLessThan(HEADERS_SECONDS * 1000 + LENIENCE_MS);
    }
    expect(target.memory().now - before).toBeLessThan(100);
  });

  it('with its body loses its connection, and what it had sent is not taken for a whole', async () => {
    const name = `late-${randomBytes(4).toString('hex')}`;
    const request = storing(name);
    const cut = request.length - 40;
    const said = await talk([request.slice(0, cut), ...request.slice(cut).split('').slice(0, 30)], {
      pauseMs: 300,
      quietMs: LENIENCE_MS,
    });
    expect(said).toMatchObject({ closed: true, statuses: [] });
    expect(said.milliseconds).toBeLessThan(BODY_SECONDS * 1000 + LENIENCE_MS);
    expect(await stored(name)).toBe(false);
  });

  it('goes in the middle of its body, again and again, and nothing is kept for it', async () => {
    const before = target.memory().now;
    const half = `${storing('gone').split('\r\n\r\n')[0]}\r\n\r\n{"kind":"EventList","items":[${' '.repeat(100_000)}`;
    for (let round = 0; round < 10; round++)
      await Promise.all(Array.from({ length: 20 }, () => talk([half], { quietMs: 0 })));
    await target.mustBeWell();
    expect(
      (await talk([storing(`after-${randomBytes(4).toString('hex')}`)], { quietMs: 1500 })).statuses,
    ).toEqual([200]);
    expect(target.memory().now - before).toBeLessThan(150);
  });
});
