import { createHmac } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { SMTPServer } from 'smtp-server';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { createAuthority, issueCertificate } from '../../../main/certificates.js';
import { createTestDatabase, type TestDatabase } from '../../harness/database.js';
import { RecordedCluster } from '../recorded-cluster.js';
import { Alerting, PostReceiver, SOON } from './alerting.js';

const KEY = 'a-key-that-nobody-may-see';
let database: TestDatabase;
let cluster: RecordedCluster;
let receiver: PostReceiver;

beforeEach(async () => {
  database = await createTestDatabase();
  database.pool.on('error', () => undefined);
  cluster = await RecordedCluster.create(database);
  receiver = new PostReceiver();
  await receiver.up();
});
afterEach(async () => {
  await receiver.down();
  await database.drop();
});

const RULES =
  'builtIn: [source-silent]\nrules: [{name: deleted, title: "Something was deleted", match: {change.kind: delete}, severity: high}]';

function rulesTo(receivers: string): string {
  return `receivers:\n${receivers}\n${RULES}`;
}

/** Alerts of a rule that go to the receiver by webhook. */
function hooked(): Alerting {
  const hook = `  - {name: hook, kind: webhook, url: "${receiver.url}", secret: env:WHOCHANGED_CREDENTIAL_HOOK}`;
  return new Alerting(database.pool, rulesTo(hook), { WHOCHANGED_CREDENTIAL_HOOK: KEY });
}

/** Lets an alert be raised. */
async function raise(alerting: Alerting, name = '<!channel> *web*'): Promise<void> {
  await alerting.raise();
  await cluster.record({
    at: 5,
    by: 'alice@example.com',
    verb: 'delete',
    resource: 'configmaps',
    namespace: 'shop',
    name,
    uid: name,
    rv: 1,
  });
  await alerting.raise();
}

/** Lets the source be silent for 15 minutes, and be heard again. */
async function silence(alerting: Alerting, meanwhile: () => Promise<unknown>): Promise<void> {
  await alerting.raise();
  await cluster.record({ at: 5, by: 'alice@example.com', verb: 'get', resource: 'pods', name: 'web' });
  const heard = (at: Date) => database.pool.query('update source_health set last_received_at = $1', [at]);
  await heard(new Date(SOON.getTime() - 900_000));
  await alerting.raise();
  await meanwhile();
  await heard(SOON);
  await alerting.raise();
}

const deliveries = (alerting: Alerting) =>
  alerting.rows<{ state: string; attempts: number }>('select state, attempts from alert_deliveries');
const attempts = (alerting: Alerting) =>
  alerting.rows<{ attempt: number; status: number | null; error: string | null }>(
    'select attempt, status, error from alert_attempts order by alert_id, attempt',
  );

describe('a webhook', () => {
  it('is posted to once, signed so that the receiver can check it', async () => {
    const alerting = hooked();
    await raise(alerting);
    expect(await alerting.deliver()).toBe(1);
    expect(await alerting.deliver()).toBe(0);
    expect(receiver.posts).toHaveLength(1);
    const [{ headers, body }] = receiver.posts as [(typeof receiver.posts)[0]];
    const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
    expect(headers['webhook-signature']).toBe(
      `v1,${createHmac('sha256', KEY).update(signed).digest('base64')}`,
    );
    expect(Math.abs(Number(headers['webhook-timestamp']) - Date.now() / 1000)).toBeLessThan(60);
    expect(JSON.parse(body)).toMatchObject({
      type: 'whochanged.alert',
      data: {
        rule: 'deleted',
        severity: 'high',
        cluster: 'test',
        namespace: 'shop',
        username: 'alice@example.com',
      },
    });
    expect(JSON.parse(body).data.url).toMatch(/^https:\/\/audit\.example\.com:8443\/changes\/[0-9a-f-]{36}$/);
    expect(await deliveries(alerting)).toEqual([{ state: 'delivered', attempts: 1 }]);
  });

  it('is told again where the process died between telling and recording', async () => {
    const alerting = hooked();
    await raise(alerting);
    // The job's connection dies while the receiver answers, so that the attempt can't be written down.
    receiver.meanwhile = () =>
      database.pool.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
      );
    await expect(alerting.deliver()).rejects.toThrow();
    receiver.meanwhile = () => Promise.resolve();
    expect(await deliveries(alerting)).toEqual([{ state: 'due', attempts: 0 }]);
    expect(await alerting.deliver()).toBe(1);
    expect(receiver.posts).toHaveLength(2);
    const ids = receiver.posts.map(({ headers }) => headers['webhook-id']);
    expect(ids[0]).toBe(ids[1]);
    expect(await deliveries(alerting)).toEqual([{ state: 'delivered', attempts: 1 }]);
  });

  it('is tried again with growing pauses while it is down or in trouble, and each attempt is recorded', async () => {
    const alerting = hooked();
    await raise(alerting);
    await receiver.down();
    expect(await alerting.deliver()).toBe(0);
    // Not yet due again.
    expect(await alerting.deliver(1)).toBe(0);
    await receiver.up();
    receiver.status = 503;
    expect(await alerting.deliver(30)).toBe(0);
    receiver.status = 200;
    expect(await alerting.deliver(31)).toBe(0);
    expect(await alerting.deliver(60)).toBe(1);
    expect(await attempts(alerting)).toEqual([
      { attempt: 1, status: null, error: 'ECONNREFUSED' },
      { attempt: 2, status: 503, error: 'the receiver answered 503' },
      { attempt: 3, status: 200, error: null },
    ]);
    const metrics = await alerting.registry.metrics();
    expect(metrics).toContain('whochanged_alert_attempts_total{receiver="hook",outcome="failed"} 2');
    expect(metrics).toContain('whochanged_alert_attempts_total{receiver="hook",outcome="delivered"} 1');
    expect(metrics).toContain('whochanged_alert_oldest_due_seconds 0');
  });

  it('waits for its secret, and keeps no other receiver waiting', async () => {
    const other = new PostReceiver();
    await other.up();
    onTestFinished(() => other.down());
    const alerting = new Alerting(
      database.pool,
      rulesTo(
        `  - {name: hook, kind: webhook, url: "${receiver.url}", secret: env:WHOCHANGED_CREDENTIAL_MISSING}
  - {name: chat, kind: slack, url: env:WHOCHANGED_CREDENTIAL_CHAT}`,
      ),
      { WHOCHANGED_CREDENTIAL_CHAT: `${other.url}/T0/B0/${KEY}` },
    );
    await raise(alerting);
    expect(await alerting.deliver()).toBe(1);
    expect(receiver.posts).toEqual([]);
    const { text } = JSON.parse(other.posts[0]!.body) as { text: string };
    expect(text).toContain('[high] Something was deleted');
    // A name in the cluster mentions nobody in the chat.
    expect(text).toContain('&lt;!channel&gt;');
    expect(text).not.toContain('<!channel>');
    expect((await attempts(alerting)).map(({ error }) => error)).toContainEqual(
      expect.stringContaining('WHOCHANGED_CREDENTIAL_MISSING: that variable is not set'),
    );
  });

  it('keeps its address and its key out of the database and the log, in failure too', async () => {
    const alerting = new Alerting(
      database.pool,
      rulesTo(
        `  - {name: chat, kind: slack, url: env:WHOCHANGED_CREDENTIAL_CHAT}
  - {name: wrong, kind: slack, url: env:WHOCHANGED_CREDENTIAL_WRONG}`,
      ),
      {
        WHOCHANGED_CREDENTIAL_CHAT: `${receiver.url}/${KEY}`,
        WHOCHANGED_CREDENTIAL_WRONG: `http://chat.example.com/${KEY}`,
      },
    );
    await raise(alerting);
    receiver.status = 404;
    await alerting.deliver();
    await receiver.down();
    await alerting.deliver(120);
    expect((await attempts(alerting)).filter(({ error }) => error !== null).length).toBeGreaterThanOrEqual(3);
    const dump = JSON.stringify([
      await alerting.rows('select * from alerts'),
      await alerting.rows('select * from alert_deliveries'),
      await alerting.rows('select * from alert_attempts'),
      alerting.logged,
    ]);
    expect(dump).not.toContain(KEY);
    expect(dump).not.toContain('chat.example.com');
  });
});

describe('the end of a silence', () => {
  it('is told to whoever was told of it, after that, and once', async () => {
    const alerting = new Alerting(
      database.pool,
      rulesTo(`  - {name: hook, kind: webhook, url: "${receiver.url}", secret: env:WHOCHANGED_CREDENTIAL_HOOK}
  - {name: chat, kind: slack, url: "${receiver.url}"}`),
      { WHOCHANGED_CREDENTIAL_HOOK: KEY },
    );
    // The receiver is down all through the silence, so that it has to be told of both.
    await receiver.down();
    await silence(alerting, () => alerting.deliver());
    await alerting.deliver(1);
    await receiver.up();
    await alerting.deliver(30);
    await alerting.deliver(60);
    await alerting.raise();
    await alerting.deliver(600);
    const bodies = receiver.posts.map(({ body }) => JSON.parse(body));
    const [first, last, ...more] = bodies.filter(({ type }) => type !== undefined);
    expect(more).toEqual([]);
    expect([first.type, last.type]).toEqual(['whochanged.alert', 'whochanged.alert.ended']);
    expect(last.data).toMatchObject({
      raisedID: first.data.id,
      rule: 'source-silent',
      endedAt: SOON.toISOString().replace('Z', '000Z'),
      endReason: 'heard',
    });
    expect(last.data.id).not.toBe(first.data.id);
    const texts = bodies.flatMap(({ text }) => text ?? []);
    expect(texts).toHaveLength(2);
    expect(texts[0]).toMatch(/^\*\[high\]/);
    expect(texts[1]).toMatch(
      /^\*\[resolved\] .*\nOver since .*Z: the source is heard again\. It was: .*told nothing for 900 s/,
    );
    expect((await deliveries(alerting)).every(({ state }) => state === 'delivered')).toBe(true);
  });
});

describe('e-mail', () => {
  it('goes through SMTP with STARTTLS and a login, once the server lets it', async () => {
    const authority = await createAuthority(new Date());
    const { certificatePem, keyPem } = await issueCertificate(
      authority,
      { commonName: 'localhost', names: ['localhost', '127.0.0.1'], usage: 'server', days: 1 },
      new Date(),
    );
    const mails: string[] = [];
    let password = 'another';
    const server = new SMTPServer({
      key: keyPem,
      cert: certificatePem,
      authMethods: ['PLAIN', 'LOGIN'],
      onAuth: (auth, session, done) =>
        auth.password === password && session.secure
          ? done(null, { user: auth.username })
          : done(new Error(`no such password: ${auth.password}`)),
      onData: (stream, _session, done) => {
        let mail = '';
        stream.on('data', (piece: Buffer) => (mail += piece.toString('utf8')));
        stream.on('end', () => {
          mails.push(mail);
          done();
        });
      },
    });
    server.on('error', () => undefined);
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', () => done()));
    onTestFinished(() => new Promise<void>((done) => server.close(() => done())));
    const { port } = server.server.address() as AddressInfo;
    const alerting = new Alerting(
      database.pool,
      rulesTo(
        `  - {name: mail, kind: email, host: localhost, port: ${port}, user: whochanged, password: env:WHOCHANGED_CREDENTIAL_SMTP,
     ca: env:WHOCHANGED_CREDENTIAL_CA, from: "Alerts <alerts@example.com>", to: [oncall@example.com, second@example.com]}`,
      ),
      { WHOCHANGED_CREDENTIAL_SMTP: KEY, WHOCHANGED_CREDENTIAL_CA: authority.certificatePem },
    );
    await raise(alerting);
    expect(await alerting.deliver()).toBe(0);
    const [first] = await attempts(alerting);
    expect(first).toMatchObject({ attempt: 1, status: 535 });
    // The server repeated it.
    expect(first!.error).toContain('no such password');
    expect(first!.error).not.toContain(KEY);
    password = KEY;
    expect(await alerting.deliver(30)).toBe(1);
    expect(mails).toHaveLength(1);
    const [mail] = mails as [string];
    expect(mail).toMatch(/^To: oncall@example\.com, second@example\.com\r$/m);
    expect(mail).toMatch(/^Subject: \[high\] Something was deleted \(test\)\r$/m);
    expect(mail).toMatch(/^Message-ID: <alert-\d+-\d+-mail@whochanged>\r$/m);
    expect(mail).toContain('alice@example.com');
    await silence(alerting, () => alerting.deliver());
    await alerting.deliver();
    expect(mails).toHaveLength(3);
    const [silent, over] = mails.slice(1) as [string, string];
    expect(over).toMatch(/^Subject: \[resolved\] /m);
    expect(/^In-Reply-To: (.+)\r$/m.exec(over)![1]).toBe(/^Message-ID: (.+)\r$/m.exec(silent)![1]);
    expect(over).toMatch(/told nothing for 900 s/);
  });
});
