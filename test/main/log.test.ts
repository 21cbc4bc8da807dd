import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { WhochangedError } from '../../core/errors.js';
import { createLogger } from '../../main/log.js';
import { buildServer } from '../../main/server.js';
import { createTestDatabase } from '../harness/database.js';

const SECRET = 'hunter2-hunter2';

function capture() {
  let text = '';
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  return {
    log: createLogger('trace', stream),
    text: () => text,
    lines: () =>
      text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
  };
}

describe('the log', () => {
  it.each([
    { token: SECRET },
    { authorization: `Bearer ${SECRET}` },
    { headers: { authorization: SECRET, cookie: SECRET } },
    { req: { headers: { authorization: SECRET, cookie: SECRET } } },
    { res: { headers: { 'set-cookie': SECRET } } },
    { source: { password: SECRET } },
    { config: { database: { connectionString: SECRET } } },
    { databaseURL: SECRET },
    { pair: { keyPem: SECRET } },
    { kubeconfig: SECRET },
  ])('hides the secret in %j', (fields) => {
    const { log, text } = capture();
    log.info(fields, 'with fields');
    log.child(fields).info('of a child');
    expect(text()).toContain('with fields');
    expect(text()).toContain('[redacted]');
    expect(text()).not.toContain(SECRET);
  });

  it('has the code and message of a Postgres error, without the values it quotes', async () => {
    const database = await createTestDatabase();
    const { log, text, lines } = capture();
    try {
      const error = await database.pool
        .query("select 1 / 0 as x where $1 = 'hunter2-hunter2'", [SECRET])
        .catch((caught: unknown) => caught);
      log.error({ err: error }, 'failed');
      await database.pool.query('create table t (a text primary key)');
      await database.pool.query('insert into t values ($1)', [SECRET]);
      const duplicate = await database.pool
        .query('insert into t values ($1)', [SECRET])
        .catch((caught: unknown) => caught);
      expect((duplicate as { detail: string }).detail).toContain(SECRET);
      log.error({ err: new Error('cannot store', { cause: duplicate }) }, 'failed');
    } finally {
      await database.drop();
    }
    expect(lines()[0].err).toMatchObject({ code: '22012', message: 'division by zero' });
    expect(lines()[1].err).toMatchObject({
      message: 'cannot store',
      causes: [{ code: '23505', constraint: 't_pkey' }],
    });
    expect(text()).not.toContain(SECRET);
  });

  it('keeps what an error of ours says to do, and the parts of several errors', () => {
    const { log, lines } = capture();
    log.warn({ err: new WhochangedError('overloaded', 'too much', { hint: 'come back' }) });
    log.warn({ err: new AggregateError([new Error('first'), new Error('second')]) });
    log.warn({ err: { request: { headers: { authorization: SECRET } } } });
    expect(lines()[0].err).toMatchObject({ type: 'WhochangedError', code: 'overloaded', hint: 'come back' });
    expect(lines()[1].err.causes).toMatchObject([{ message: 'first' }, { message: 'second' }]);
    expect(lines()[2].err).toBe('not an Error: object');
  });

  it('hides them in what the server logs of its requests', async () => {
    const { log, text } = capture();
    const server = await buildServer({
      log,
      tls: undefined,
      timeouts: { headersSeconds: 20, bodySeconds: 300, stalledSeconds: 60 },
      webhook: undefined,
      registerApi: undefined,
    });
    server.get('/broken', () => {
      throw Object.assign(new Error('broken'), { detail: SECRET });
    });
    await server.inject({ url: '/broken', headers: { authorization: `Bearer ${SECRET}`, cookie: SECRET } });
    await server.close();
    expect(text()).toContain('broken');
    expect(text()).not.toContain(SECRET);
  });
});
