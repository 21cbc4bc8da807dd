import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Attempt, attemptOn, attemptOnQueue, ServiceTrouble } from '../../../ingest/s3/trouble.js';
import type { S3Source } from '../../../store/s3-sources.js';
import { startReceiver, type TestReceiver } from '../../harness/receiver.js';
import { addS3Source, startS3, type TestS3 } from '../../harness/s3.js';
import {
  deployments,
  hasten,
  ledgerCounts,
  lines,
  once,
  QUICK,
  rowOnce,
  settled,
} from '../../harness/s3-ledger.js';
import { type S3Proxy, startS3Proxy } from '../../harness/s3-proxy.js';

let s3: TestS3;
let proxy: S3Proxy;
let receiver: TestReceiver;
let bucket: string;
beforeAll(async () => {
  s3 = await startS3();
  proxy = await startS3Proxy(s3.endpoint);
  receiver = await startReceiver(QUICK);
  receiver.ingest.s3.start();
});
beforeEach(async () => {
  proxy.treat(() => undefined);
  proxy.requests.length = 0;
  bucket = await s3.createBucket();
});
afterAll(async () => {
  await receiver.stop();
  await proxy.stop();
  await s3.stop();
});

async function add(name: string, location: { roleARN?: string } = {}): Promise<number> {
  const source = await addS3Source(receiver.database, proxy, { name, bucket, ...location });
  await receiver.ingest.s3.poke();
  return source;
}

describe('a server that asks to slow down', () => {
  it('is asked again later, and nothing is lost', async () => {
    await s3.put(bucket, 'a.json', lines(deployments(30, 'throttled')));
    let refused = 0;
    // The SDK itself tries four times.
    proxy.treat(({ key }) =>
      key === 'a.json' && refused++ < 5 ? { status: 503, code: 'SlowDown' } : undefined,
    );
    const source = await add('throttled');
    const failed = await rowOnce(receiver, source, 'a.json', (row) => row.state === 'failed');
    expect(failed).toMatchObject({
      attempts: 1,
      stored: '0',
      error: { code: 'throttled', message: `s3://${bucket}/a.json asks to slow down (SlowDown)` },
    });
    expect(refused).toBe(4);
    expect(failed.retry_seconds).toBeGreaterThan(2);
    await hasten(receiver, source);
    expect(await settled(receiver, source, 1)).toMatchObject([{ state: 'done', attempts: 2, error: null }]);
    expect(refused).toBeGreaterThan(5);
    expect(await ledgerCounts(receiver, source)).toEqual(once(30));
  });
});

async function listingError(source: number) {
  const { rows } = await receiver.database.pool.query('select error from s3_scans where source_id = $1', [
    source,
  ]);
  return rows[0].error as { code: string; message: string; hint?: string } | null;
}

describe('a permission that is missing', () => {
  it('to list is named, with what on', async () => {
    proxy.treat(({ key }) => (key === '' ? { status: 403, code: 'AccessDenied' } : undefined));
    const source = await add('no-list');
    await expect
      .poll(() => listingError(source), { timeout: 30_000 })
      .toEqual({
        code: 'access_denied',
        message: `s3:ListBucket on arn:aws:s3:::${bucket} is not allowed`,
        hint: 'allow s3:ListBucket to the identity that whochanged uses',
      });
  });

  it.each([
    ['to read', 'Access Denied', () => `s3:GetObject on arn:aws:s3:::${bucket}/a b.json is not allowed`],
    [
      'to decrypt',
      'User: arn:aws:iam::111122223333:user/reader is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:eu-west-1:111122223333:key/1234 because no identity-based policy allows it',
      () => 'kms:Decrypt on arn:aws:kms:eu-west-1:111122223333:key/1234 is not allowed',
    ],
  ])('%s is named, with what on, and nothing is lost once it is given', async (name, message, expected) => {
    await s3.put(bucket, 'a b.json', lines(deployments(2, name.replace(' ', '-'))));
    proxy.treat(({ key }) =>
      key === 'a b.json' ? { status: 403, code: 'AccessDenied', message } : undefined,
    );
    const source = await add(name.replace(' ', '-'));
    const { error } = await rowOnce(receiver, source, 'a b.json', (row) => row.state === 'failed');
    expect(error).toMatchObject({ code: 'access_denied', message: expected() });
    // Whose credentials it was is AWS's word, and nobody else's to read.
    expect(JSON.stringify(error)).not.toContain('user/reader');
    proxy.treat(() => undefined);
    await hasten(receiver, source);
    await settled(receiver, source, 1);
    expect(await ledgerCounts(receiver, source)).toEqual(once(2));
  });

  it.each([
    ['NoSuchBucket', 404, 'no_such_bucket'],
    ['InvalidAccessKeyId', 403, 'invalid_credentials'],
    ['SignatureDoesNotMatch', 403, 'invalid_credentials'],
    ['ExpiredToken', 400, 'expired_credentials'],
    ['PermanentRedirect', 301, 'wrong_region'],
    ['InvalidObjectState', 403, 'archived'],
    ['KMS.DisabledException', 400, 'kms'],
    ['InternalError', 500, 'server_error'],
  ])('or %s has a word of its own', async (code, status, expected) => {
    proxy.treat(() => ({ status, code }));
    const source = await add(code.toLowerCase());
    await expect
      .poll(() => listingError(source), { timeout: 30_000 })
      .toMatchObject({ code: expected, message: expect.stringContaining(bucket) });
  });
});

describe('a connection that breaks', () => {
  it('is taken up again behind what was read', async () => {
    const events = deployments(500, 'cut');
    const body = lines(events);
    await s3.put(bucket, 'a.json', body);
    let cuts = 0;
    proxy.treat(({ key }) => (key === 'a.json' && cuts++ < 3 ? { cutAfter: 100_000 } : undefined));
    const source = await add('cut');
    expect(await settled(receiver, source, 1)).toMatchObject([
      { state: 'done', attempts: 1, events: '500', position: String(body.length) },
    ]);
    const ranges = proxy.requests.filter(({ key }) => key === 'a.json').map(({ range }) => range);
    // Each behind what had arrived, which may be less than was sent.
    expect(ranges[0]).toBeUndefined();
    const from = ranges.slice(1).map((range) => Number(/^bytes=(\d+)-$/.exec(range!)![1]));
    expect(from).toHaveLength(3);
    expect(from).toEqual([...from].sort((a, b) => a - b));
    expect(from[0]).toBeGreaterThan(0);
    expect(await ledgerCounts(receiver, source)).toEqual(once(500));
  });
});

describe('a server that is not there', () => {
  it('is named, and found when it comes back', async () => {
    const source = await addS3Source(
      receiver.database,
      { endpoint: 'http://127.0.0.1:9' },
      { name: 'away', bucket },
    );
    await receiver.ingest.s3.poke();
    await expect
      .poll(() => listingError(source), { timeout: 30_000 })
      .toMatchObject({ code: 'unreachable', message: `can't reach s3://${bucket}/: ECONNREFUSED` });
    await s3.put(bucket, 'a.json', lines(deployments(1, 'back')));
    await receiver.database.pool.query('update s3_locations set endpoint = $2 where source_id = $1', [
      source,
      s3.endpoint,
    ]);
    await hasten(receiver, source);
    await settled(receiver, source, 1);
  });
});

describe('what AWS refuses', () => {
  const source = {
    bucket: 'audit',
    prefix: 'logs/',
    region: 'eu-west-1',
    roleARN: 'arn:aws:iam::111122223333:role/reader',
    profile: null,
    queueURL: 'https://sqs.us-gov-west-1.amazonaws.com/111122223333/objects',
  } as unknown as S3Source & { queueURL: string };
  const named = (error: object, attempt: Attempt) => new ServiceTrouble(error, attempt).trouble;

  it('is named with the action and the ARN, in each partition', () => {
    const denied = { name: 'AccessDenied', $metadata: { httpStatusCode: 403 } };
    expect(named(denied, attemptOnQueue(source, 'sqs:ReceiveMessage'))).toEqual({
      code: 'access_denied',
      message: 'sqs:ReceiveMessage on arn:aws-us-gov:sqs:us-gov-west-1:111122223333:objects is not allowed',
      hint: 'allow sqs:ReceiveMessage to the identity that whochanged uses (arn:aws:iam::111122223333:role/reader)',
    });
    const inChina = { ...source, region: 'cn-north-1' };
    expect(named(denied, attemptOn(inChina, 'logs/a')).message).toBe(
      's3:GetObject on arn:aws-cn:s3:::audit/logs/a is not allowed',
    );
    expect(named(denied, attemptOn(source)).message).toBe(
      's3:ListBucket on arn:aws:s3:::audit is not allowed',
    );
  });

  it('for want of credentials says where they were looked for', () => {
    expect(
      named({ name: 'CredentialsProviderError' }, attemptOn({ ...source, profile: 'ops' })),
    ).toMatchObject({
      code: 'no_credentials',
      message:
        'no AWS credentials for s3://audit/logs/ in the profile ops, to assume arn:aws:iam::111122223333:role/reader',
    });
  });
});
