import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { S3Clients } from '../s3-client.js';
import type { S3Place } from '../s3-place.js';

/** Where archived segments are read from: a bucket, or a folder that holds a copy of it. */
export interface ArchiveReader {
  /** @throws Error naming the file when it isn't there */
  get(key: string): Promise<Buffer>;
}

/** Segments in a bucket. Keys are told without the place's prefix. */
export class S3Archive implements ArchiveReader {
  readonly #clients: S3Clients;
  readonly #place: S3Place;

  constructor(clients: S3Clients, place: S3Place) {
    this.#clients = clients;
    this.#place = place;
  }

  async get(key: string): Promise<Buffer> {
    const { GetObjectCommand } = await import('@aws-sdk/client-s3');
    const s3 = await this.#clients.s3(this.#place);
    try {
      const { Body } = await s3.send(new GetObjectCommand(this.#at(key)));
      return Buffer.from(await Body!.transformToByteArray());
    } catch (error) {
      throw this.#named(key, error);
    }
  }

  async put(key: string, bytes: Buffer): Promise<void> {
    const { PutObjectCommand } = await import('@aws-sdk/client-s3');
    const s3 = await this.#clients.s3(this.#place);
    try {
      await s3.send(
        new PutObjectCommand({
          ...this.#at(key),
          Body: bytes,
          ContentType: 'application/vnd.apache.parquet',
        }),
      );
    } catch (error) {
      throw this.#named(key, error);
    }
  }

  async remove(key: string): Promise<void> {
    const { DeleteObjectCommand } = await import('@aws-sdk/client-s3');
    const s3 = await this.#clients.s3(this.#place);
    try {
      await s3.send(new DeleteObjectCommand(this.#at(key)));
    } catch (error) {
      throw this.#named(key, error);
    }
  }

  /** The SDK's own words rarely say of what, and its errors hold the whole request with its signature. */
  #named(key: string, error: unknown): Error {
    const { name, message } = error as Error;
    return new Error(`s3://${this.#place.bucket}/${this.#place.prefix}${key}: ${name}: ${message}`);
  }

  #at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#place.bucket, Key: `${this.#place.prefix}${key}` };
  }
}

/** A copy of the bucket's prefix in a folder, for checking without the bucket. */
export class FolderArchive implements ArchiveReader {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  get(key: string): Promise<Buffer> {
    return readFile(join(this.#folder, key));
  }
}
