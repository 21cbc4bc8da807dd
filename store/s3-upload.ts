import { createHash } from 'node:crypto';
import type { S3Client } from '@aws-sdk/client-s3';

/** S3 takes parts from 5 MiB on, and 10,000 of them: 80 GiB in one object, and no more than one part in memory. */
const PART_BYTES = 8 * 1024 * 1024;

export interface UploadTarget {
  Bucket: string;
  Key: string;
  ContentType: string;
}

export interface Uploaded {
  bytes: number;
  sha256: string;
}

/**
 * Writes an object from what comes, in parts where it is longer than one. It is there as a whole or not at all: what
 * fails on the way is taken back. Each request tells its body's MD5: a bucket with Object Lock takes nothing without, and
 * it is the checksum that every such server knows.
 */
export async function uploadObject(
  s3: S3Client,
  target: UploadTarget,
  chunks: AsyncIterable<string | Uint8Array>,
): Promise<Uploaded> {
  const { PutObjectCommand } = await import('@aws-sdk/client-s3');
  const parts = new Parts(s3, target);
  const hash = createHash('sha256');
  let bytes = 0;
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  try {
    for await (const chunk of chunks) {
      const piece = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
      hash.update(piece);
      bytes += piece.length;
      held.push(piece);
      heldBytes += piece.length;
      if (heldBytes < PART_BYTES) continue;
      await parts.send(Buffer.concat(held));
      [held, heldBytes] = [[], 0];
    }
    const last = Buffer.concat(held);
    if (parts.count === 0) await s3.send(new PutObjectCommand({ ...target, ...checked(last) }));
    else {
      if (last.length > 0) await parts.send(last);
      await parts.complete();
    }
  } catch (error) {
    await parts.abort();
    throw error;
  }
  return { bytes, sha256: hash.digest('hex') };
}

function checked(bytes: Buffer): { Body: Buffer; ContentMD5: string } {
  return { Body: bytes, ContentMD5: createHash('md5').update(bytes).digest('base64') };
}

/** The parts of one object, begun with the first of them. */
class Parts {
  readonly #s3: S3Client;
  readonly #target: UploadTarget;
  readonly #sent: Array<{ PartNumber: number; ETag: string | undefined }> = [];
  #uploadID: string | undefined;

  constructor(s3: S3Client, target: UploadTarget) {
    this.#s3 = s3;
    this.#target = target;
  }

  get count(): number {
    return this.#sent.length;
  }

  async send(bytes: Buffer): Promise<void> {
    const { CreateMultipartUploadCommand, UploadPartCommand } = await import('@aws-sdk/client-s3');
    this.#uploadID ??= (await this.#s3.send(new CreateMultipartUploadCommand(this.#target))).UploadId;
    const PartNumber = this.#sent.length + 1;
    const { ETag } = await this.#s3.send(
      new UploadPartCommand({ ...this.#place(), PartNumber, ...checked(bytes) }),
    );
    this.#sent.push({ PartNumber, ETag });
  }

  async complete(): Promise<void> {
    const { CompleteMultipartUploadCommand } = await import('@aws-sdk/client-s3');
    await this.#s3.send(
      new CompleteMultipartUploadCommand({ ...this.#place(), MultipartUpload: { Parts: this.#sent } }),
    );
  }

  /** Parts that are left are paid for and never seen. A failure to remove them is less than what went wrong before. */
  async abort(): Promise<void> {
    if (this.#uploadID === undefined) return;
    const { AbortMultipartUploadCommand } = await import('@aws-sdk/client-s3');
    await this.#s3.send(new AbortMultipartUploadCommand(this.#place())).catch(() => undefined);
  }

  #place(): { Bucket: string; Key: string; UploadId: string | undefined } {
    const { Bucket, Key } = this.#target;
    return { Bucket, Key, UploadId: this.#uploadID };
  }
}
