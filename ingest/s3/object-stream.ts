import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import type { S3Client } from '@aws-sdk/client-s3';
import { backoffSeconds } from './backoff.js';
import { type Attempt, ServiceTrouble } from './trouble.js';

/** A broken connection is taken up again this often without a byte of progress, before the attempt counts as failed. */
const MAX_RESUMES = 5;

/** The object isn't what was listed any more. */
export class ObjectChanged extends Error {
  readonly change: 'gone' | 'replaced';

  constructor(change: 'gone' | 'replaced') {
    super(`the object is ${change}`);
    this.name = 'ObjectChanged';
    this.change = change;
  }
}

export interface OpenObject {
  bucket: string;
  key: string;
  etag: string;
}

interface Opened {
  body: Readable;
  /** Bytes at the body's beginning that were read before. */
  skip: number;
  /** Where the object ends. */
  end: number | undefined;
  versionID: string | undefined;
}

/**
 * The bytes of one content of an object. When the connection breaks, reading goes on behind what was read (Range), and
 * only if it is still the same content (If-Match, RFC 9110): what comes is never a mixture of two.
 */
export class ObjectStream {
  readonly #client: S3Client;
  readonly #object: OpenObject;
  readonly #attempt: Attempt;
  readonly #stopped: AbortSignal;
  /** Bytes handed over. */
  position = 0;
  /** In a bucket with versions, once it has begun. */
  versionID: string | undefined;
  /** Of the whole object, once it has begun and where the server tells. */
  size: number | undefined;

  constructor(client: S3Client, object: OpenObject, attempt: Attempt, stopped: AbortSignal) {
    this.#client = client;
    this.#object = object;
    this.#attempt = attempt;
    this.#stopped = stopped;
  }

  /** @throws ObjectChanged, ServiceTrouble */
  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    let failures = 0;
    for (;;) {
      const from = this.position;
      let opened: Opened | undefined;
      try {
        opened = await this.#open(from);
        if (opened === undefined) return;
        this.versionID ??= opened.versionID;
        this.size ??= opened.end;
        let skip = opened.skip;
        for await (const chunk of opened.body) {
          const bytes = (chunk as Buffer).subarray(skip);
          skip = Math.max(0, skip - (chunk as Buffer).length);
          if (bytes.length === 0) continue;
          this.position += bytes.length;
          yield bytes;
        }
        if (opened.end === undefined || this.position >= opened.end) return;
        throw new Error('the connection ended early');
      } catch (error) {
        if (error instanceof ObjectChanged) throw error;
        // What the service answered stands; what broke on the way is tried again.
        const broken = opened !== undefined && !this.#stopped.aborted;
        failures = this.position > from ? 1 : failures + 1;
        if (!broken || failures > MAX_RESUMES) throw new ServiceTrouble(error, this.#attempt);
        await pause(backoffSeconds(failures, 0.2) * 1000, undefined, { signal: this.#stopped });
      } finally {
        opened?.body.destroy();
      }
    }
  }

  /**
   * The bytes [from, to) of the same content, whatever was read before.
   * @throws ObjectChanged, ServiceTrouble
   */
  async range(from: number, to: number): Promise<Buffer> {
    for (let failures = 1; ; failures++) {
      let opened: Opened | undefined;
      try {
        opened = await this.#open(from, to);
        const pieces: Buffer[] = [];
        let left = to - from;
        let skip = opened?.skip ?? 0;
        for await (const chunk of opened?.body ?? []) {
          const bytes = (chunk as Buffer).subarray(skip, skip + left);
          skip = Math.max(0, skip - (chunk as Buffer).length);
          left -= bytes.length;
          if (bytes.length > 0) pieces.push(bytes);
          if (left === 0) break;
        }
        if (left > 0) throw new Error('the connection ended early');
        this.position += to - from;
        return Buffer.concat(pieces);
      } catch (error) {
        if (error instanceof ObjectChanged) throw error;
        const broken = opened !== undefined && !this.#stopped.aborted;
        if (!broken || failures > MAX_RESUMES) throw new ServiceTrouble(error, this.#attempt);
        await pause(backoffSeconds(failures, 0.2) * 1000, undefined, { signal: this.#stopped });
      } finally {
        opened?.body.destroy();
      }
    }
  }

  /** Undefined: nothing is left behind what was read. */
  async #open(from: number, to?: number): Promise<Opened | undefined> {
    const { GetObjectCommand } = await import('@aws-sdk/client-s3');
    const { bucket, key, etag } = this.#object;
    try {
      const answer = await this.#client.send(
        new GetObjectCommand({
          Bucket: bucket,
          Key: key,
          IfMatch: `"${etag}"`,
          ...((from > 0 || to !== undefined) && { Range: `bytes=${from}-${to === undefined ? '' : to - 1}` }),
        }),
        { abortSignal: this.#stopped },
      );
      // A server that knows no ranges sends the whole again, one that knows no If-Match another content.
      if (answer.ETag !== undefined && answer.ETag.replaceAll('"', '') !== etag) {
        (answer.Body as Readable | undefined)?.destroy();
        throw new ObjectChanged('replaced');
      }
      const ranged = answer.ContentRange?.startsWith(`bytes ${from}-`) ?? false;
      const start = ranged ? from : 0;
      return {
        body: answer.Body as Readable,
        skip: from - start,
        end: answer.ContentLength === undefined ? undefined : start + answer.ContentLength,
        versionID: answer.VersionId,
      };
    } catch (error) {
      const { name, $metadata } = error as { name?: string; $metadata?: { httpStatusCode?: number } };
      if (name === 'NoSuchKey' || (name !== 'NoSuchBucket' && $metadata?.httpStatusCode === 404))
        throw new ObjectChanged('gone');
      if ($metadata?.httpStatusCode === 412) throw new ObjectChanged('replaced');
      if (from > 0 && $metadata?.httpStatusCode === 416) return undefined;
      throw error;
    }
  }
}
