import {
  CreateQueueCommand,
  GetQueueAttributesCommand,
  SendMessageCommand,
  SQSClient,
} from '@aws-sdk/client-sqs';
import { interceptLocalhostDns } from 'fauxqs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readNotification } from '../../../ingest/s3/notifications.js';
import { startReceiver, type TestReceiver } from '../../harness/receiver.js';
import { addS3Source, startS3, type TestS3 } from '../../harness/s3.js';
import { deployments, ledgerCounts, lines, once, settled } from '../../harness/s3-ledger.js';

const inBucket = (bucket: string, key: string, etag: string | undefined, size: number) => ({
  bucket: { name: bucket, arn: `arn:aws:s3:::${bucket}` },
  object: { key, size, ...(etag !== undefined && { eTag: etag }), sequencer: '0055AED6DCD90281E5' },
});
const s3Event = (eventName: string, ...where: Array<ReturnType<typeof inBucket>>) =>
  JSON.stringify({
    Records: where.map((s3) => ({
      eventVersion: '2.1',
      eventSource: 'aws:s3',
      awsRegion: 'us-east-1',
      eventTime: '2026-03-02T09:00:00.000Z',
      eventName,
      s3: { s3SchemaVersion: '1.0', configurationId: 'whochanged', ...s3 },
    })),
  });
const eventBridge = (bucket: string, key: string, etag: string, detailType = 'Object Created') =>
  JSON.stringify({
    version: '0',
    id: '17793124-05d4-b198-2fde-7ededc63b103',
    'detail-type': detailType,
    source: 'aws.s3',
    account: '111122223333',
    time: '2026-03-02T09:00:00Z',
    region: 'us-east-1',
    resources: [`arn:aws:s3:::${bucket}`],
    detail: {
      version: '0',
      bucket: { name: bucket },
      object: { key, size: 5, etag, 'version-id': 'v1', sequencer: '00617F08299329D189' },
      'request-id': 'N4N7GDK58NMKJ12R',
      requester: '123456789012',
      reason: 'PutObject',
    },
  });
const TEST_EVENT = JSON.stringify({
  Service: 'Amazon S3',
  Event: 's3:TestEvent',
  Time: '2026-03-02T09:00:00.000Z',
  Bucket: 'audit',
});

describe('a message', () => {
  const object = (key: string, etag?: string) => ({
    bucket: 'audit',
    key,
    etag,
    size: 5,
    lastModified: '2026-03-02T09:00:00.000Z',
  });
  it.each([
    [
      'of S3, its key URL-encoded',
      s3Event('ObjectCreated:Put', inBucket('audit', 'a+b%2Bc%C3%A4.gz', 'e1', 5)),
      { type: 'created', objects: [object('a b+cä.gz', 'e1')] },
    ],
    [
      'with two records, one of them a removal',
      JSON.stringify({
        Records: [
          ...JSON.parse(s3Event('s3:ObjectRemoved:Delete', inBucket('audit', 'x', 'e', 5))).Records,
          ...JSON.parse(
            s3Event('s3:ObjectCreated:CompleteMultipartUpload', inBucket('audit', 'y', 'e2-3', 5)),
          ).Records,
        ],
      }),
      { type: 'created', objects: [object('y', 'e2-3')] },
    ],
    [
      'in the envelope of SNS',
      JSON.stringify({
        Type: 'Notification',
        Message: s3Event('ObjectCreated:Put', inBucket('audit', 'x', 'e', 5)),
      }),
      { type: 'created', objects: [object('x', 'e')] },
    ],
    [
      'of EventBridge, its key as it is',
      eventBridge('audit', 'a+b%20c.gz', 'e1'),
      { type: 'created', objects: [object('a+b%20c.gz', 'e1')] },
    ],
    [
      'of EventBridge of another kind',
      eventBridge('audit', 'x', 'e1', 'Object Deleted'),
      { type: 'ignored', what: 'other_event' },
    ],
    ['that tests the way', TEST_EVENT, { type: 'ignored', what: 'test_event' }],
    ['of something else', '{"hello":"world"}', { type: 'unknown' }],
    ['that is no JSON', 'hello', { type: 'unknown' }],
    ['that is null in places', '{"Records":[null]}', { type: 'unknown' }],
  ] as const)('%s', (_name, body, expected) => {
    expect(readNotification(body)).toEqual(expected);
  });
});

describe.skipIf(process.env.WHOCHANGED_TEST_S3_IMAGE !== undefined)('a queue', () => {
  let s3: TestS3;
  let sqs: SQSClient;
  let receiver: TestReceiver;
  let restoreDNS: () => void;
  beforeAll(async () => {
    // Its queues are at sqs.REGION.localhost.
    restoreDNS = interceptLocalhostDns();
    s3 = await startS3();
    sqs = new SQSClient({ endpoint: s3.endpoint, region: 'us-east-1' });
    // Listings come once an hour here: what is found at once is found through the queue.
    receiver = await startReceiver({ WHOCHANGED_S3_LIST_SECONDS: '3600' });
    receiver.ingest.s3.start();
  });
  afterAll(async () => {
    await receiver.stop();
    sqs.destroy();
    await s3.stop();
    restoreDNS();
  });

  it('tells of objects in either shape; each is read once, and foreign messages stay', async () => {
    const bucket = await s3.createBucket();
    const { QueueUrl } = await sqs.send(new CreateQueueCommand({ QueueName: 'objects' }));
    const queueURL = QueueUrl!;
    const source = await addS3Source(receiver.database, s3, {
      name: 'queued',
      bucket,
      prefix: 'logs/',
      queueURL,
    });
    await receiver.ingest.s3.poke();
    // The first listing finds nothing: it is over before the objects come.
    await expect.poll(async () => (await scan(source)).listed_at, { timeout: 30_000 }).not.toBeNull();

    const send = (MessageBody: string) =>
      sqs.send(new SendMessageCommand({ QueueUrl: queueURL, MessageBody }));
    const put = async (key: string, name: string) =>
      (await s3.put(bucket, key, lines(deployments(2, name)))).etag;
    const first = await put('logs/a b.json', 'one');
    const second = await put('logs/c+d.json', 'two');
    await put('logs/unnamed.json', 'three');
    const elsewhere = await put('other/x.json', 'four');
    await send(TEST_EVENT);
    await send(
      s3Event(
        'ObjectCreated:Put',
        inBucket(bucket, 'logs/a+b.json', first, 5),
        inBucket(bucket, 'other/x.json', elsewhere, 5),
      ),
    );
    await send(eventBridge(bucket, 'logs/c+d.json', second));
    // At least once, says SQS.
    await send(s3Event('ObjectCreated:Put', inBucket(bucket, 'logs/a+b.json', first, 5)));
    await settled(receiver, source, 2);
    // Without an etag it says too little, so it is looked for.
    await send(s3Event('ObjectCreated:Put', inBucket(bucket, 'logs/unnamed.json', undefined, 5)));
    const rows = await settled(receiver, source, 3);
    expect(rows.map((row) => [row.key, row.state, row.attempts, row.events])).toEqual([
      ['logs/a b.json', 'done', 1, '2'],
      ['logs/c+d.json', 'done', 1, '2'],
      ['logs/unnamed.json', 'done', 1, '2'],
    ]);
    expect(await ledgerCounts(receiver, source)).toEqual(once(6));

    await send(s3Event('ObjectCreated:Put', inBucket('somebody-elses', 'x', 'e', 5)));
    await expect
      .poll(async () => (await queue(source)).queue_error, { timeout: 30_000 })
      .toMatchObject({ code: 'foreign_message', message: expect.stringContaining(bucket) });
    const { Attributes } = await sqs.send(
      new GetQueueAttributesCommand({ QueueUrl: queueURL, AttributeNames: ['All'] }),
    );
    const { ApproximateNumberOfMessages: free, ApproximateNumberOfMessagesNotVisible: hidden } = Attributes!;
    // The foreign one only.
    expect(Number(free) + Number(hidden)).toBe(1);
  }, 90_000);

  it('that is not there is named, and listings go on', async () => {
    const bucket = await s3.createBucket();
    await s3.put(bucket, 'a.json', lines(deployments(1, 'listed')));
    const queueURL = `${s3.endpoint}/000000000000/nowhere`;
    const source = await addS3Source(receiver.database, s3, { name: 'no-queue', bucket, queueURL });
    await receiver.ingest.s3.poke();
    await settled(receiver, source, 1);
    await expect
      .poll(async () => (await queue(source)).queue_error, { timeout: 30_000 })
      .toMatchObject({ code: 'no_such_queue', message: `there is no queue at ${queueURL}` });
  });

  async function queue(source: number) {
    const { rows } = await receiver.database.pool.query(
      'select queue_error, queue_polled_at from s3_locations where source_id = $1',
      [source],
    );
    return rows[0];
  }

  async function scan(source: number) {
    const { rows } = await receiver.database.pool.query(
      'select listed_at from s3_scans where source_id = $1',
      [source],
    );
    return rows[0];
  }
});
