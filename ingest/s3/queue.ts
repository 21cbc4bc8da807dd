import type { Message, SQSClient } from '@aws-sdk/client-sqs';
import type { Pool } from 'pg';
import { hastenScan } from '../../store/s3-scans.js';
import type { S3Source } from '../../store/s3-sources.js';
import { type FoundObject, recordObjects, type Trouble } from '../../store/source-objects.js';
import { type Notification, readNotification } from './notifications.js';
import { asking, attemptOnQueue } from './trouble.js';

/** SQS holds an empty answer back for so long: few requests, and no delay. */
const WAIT_SECONDS = 20;
const MAX_MESSAGES = 10;

export interface QueueRead {
  messages: number;
  /** Objects that are new. */
  added: number;
  /** Messages that were left in the queue, since they are not about this source's bucket. */
  trouble: Trouble | undefined;
}

/**
 * Takes what a source's queue holds, once: records the objects it tells of, and only then deletes the messages. What is
 * not understood, or is about another bucket, stays in the queue for its dead-letter queue.
 * @throws ServiceTrouble
 */
export async function readQueue(
  source: S3Source & { queueURL: string },
  client: SQSClient,
  pool: Pool,
  signal: AbortSignal,
): Promise<QueueRead> {
  const { ReceiveMessageCommand } = await import('@aws-sdk/client-sqs');
  const request = new ReceiveMessageCommand({
    QueueUrl: source.queueURL,
    MaxNumberOfMessages: MAX_MESSAGES,
    WaitTimeSeconds: WAIT_SECONDS,
  });
  const answer = await asking(attemptOnQueue(source, 'sqs:ReceiveMessage'), () =>
    client.send(request, { abortSignal: signal }),
  );
  const messages = answer.Messages ?? [];
  const found: FoundObject[] = [];
  const handled: Message[] = [];
  let listed = false;
  for (const message of messages) {
    const notification = readNotification(message.Body ?? '');
    if (notification.type === 'unknown' || isOfOtherBucket(notification, source)) continue;
    handled.push(message);
    if (notification.type !== 'created') continue;
    for (const { bucket: _bucket, etag, ...object } of notification.objects) {
      // The bucket may notify of all of its keys.
      if (!object.key.startsWith(source.prefix)) continue;
      if (etag === undefined) listed = true;
      else if (!object.key.endsWith('/') || object.size > 0) found.push({ ...object, etag });
    }
  }
  const { added } = await recordObjects(pool, source, found, null);
  if (listed) await hastenScan(pool, source.sourceID);
  await deleteMessages(client, source, handled);
  return { messages: messages.length, added, trouble: troubleOf(messages.length - handled.length, source) };
}

function isOfOtherBucket(notification: Notification, source: S3Source): boolean {
  return (
    notification.type === 'created' && notification.objects.some((object) => object.bucket !== source.bucket)
  );
}

function troubleOf(left: number, source: S3Source & { queueURL: string }): Trouble | undefined {
  if (left === 0) return undefined;
  return {
    code: 'foreign_message',
    message: `${source.queueURL} holds messages that are no S3 notifications, or about another bucket than ${source.bucket}; they were left there`,
    hint: 'give each source a queue of its own, and the queue a dead-letter queue',
  };
}

async function deleteMessages(
  client: SQSClient,
  source: S3Source & { queueURL: string },
  messages: Message[],
): Promise<void> {
  if (messages.length === 0) return;
  const { DeleteMessageBatchCommand } = await import('@aws-sdk/client-sqs');
  const Entries = messages.map(({ ReceiptHandle }, i) => ({ Id: String(i), ReceiptHandle }));
  // One that isn't deleted comes again, and its objects are known then.
  const request = new DeleteMessageBatchCommand({ QueueUrl: source.queueURL, Entries });
  await asking(attemptOnQueue(source, 'sqs:DeleteMessage'), () => client.send(request));
}
