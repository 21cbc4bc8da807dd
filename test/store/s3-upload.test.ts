import { createHash } from 'node:crypto';
import { GetObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { uploadObject } from '../../store/s3-upload.js';
import { startS3, type TestS3 } from '../harness/s3.js';

const MIB = 1024 * 1024;
let s3: TestS3;
let Bucket: string;
beforeAll(async () => {
  s3 = await startS3();
  Bucket = await s3.createBucket();
});
afterAll(() => s3?.stop());

async function* pieces(count: number, bytes: number): AsyncGenerator<string | Uint8Array> {
  for (let n = 0; n < count; n++)
    // The é has two bytes.
    yield n % 2 === 0 ? `${n}é`.padEnd(bytes - 1, 'x') : Buffer.alloc(bytes, String(n));
}

async function wholeOf(count: number, bytes: number): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces(count, bytes)) all.push(Buffer.from(piece));
  return Buffer.concat(all);
}

describe('an object of pieces', () => {
  it.each([
    ['of none', 0, 0],
    ['in one request', 3, 1000],
    ['in several', 21, MIB],
    ['that ends where a part ends', 16, MIB],
  ])('%s is what came', async (Key, count, bytes) => {
    const target = { Bucket, Key, ContentType: 'text/plain' };
    const uploaded = await uploadObject(s3.client, target, pieces(count, bytes));
    const whole = await wholeOf(count, bytes);
    const { Body, ContentType } = await s3.client.send(new GetObjectCommand({ Bucket, Key }));
    expect(whole.equals(await Body!.transformToByteArray())).toBe(true);
    expect(ContentType).toBe('text/plain');
    const sha256 = createHash('sha256').update(whole).digest('hex');
    expect(uploaded).toEqual({ bytes: whole.length, sha256 });
  });

  it('leaves nothing where the pieces break off', async () => {
    async function* broken() {
      yield* pieces(20, MIB);
      throw new Error('the database went away');
    }
    const target = { Bucket, Key: 'broken', ContentType: 'text/plain' };
    await expect(uploadObject(s3.client, target, broken())).rejects.toThrow('the database went away');
    const { Contents = [] } = await s3.client.send(new ListObjectsV2Command({ Bucket, Prefix: 'broken' }));
    expect(Contents).toEqual([]);
  });
});
