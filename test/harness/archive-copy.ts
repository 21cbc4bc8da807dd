import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { GetObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { DuckDBInstance } from '@duckdb/node-api';
import type { S3Place } from '../../store/s3-place.js';
import type { TestS3 } from './s3.js';

/** Copies what lies in a place into a folder, by its keys without the place's prefix. Returns the keys. */
export async function copyPlace(s3: TestS3, place: S3Place, folder: string): Promise<string[]> {
  const { Contents = [], IsTruncated } = await s3.client.send(
    new ListObjectsV2Command({ Bucket: place.bucket, Prefix: place.prefix }),
  );
  if (IsTruncated) throw new Error(`more than one page of objects lies in ${place.bucket}`);
  const keys = Contents.map(({ Key }) => Key!);
  for (const key of keys) {
    const { Body } = await s3.client.send(new GetObjectCommand({ Bucket: place.bucket, Key: key }));
    const path = join(folder, key.slice(place.prefix.length));
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, await Body!.transformToByteArray());
  }
  return keys.map((key) => key.slice(place.prefix.length));
}

/** DuckDB's answers to statements, one after another, with paths that begin in a folder. */
export async function askDuckdb(
  folder: string,
  statements: string[],
): Promise<Array<Array<Record<string, unknown>>>> {
  const instance = await DuckDBInstance.create();
  const connection = await instance.connect();
  try {
    await connection.run(`set file_search_path = '${folder}'`);
    const answers: Array<Array<Record<string, unknown>>> = [];
    for (const statement of statements)
      answers.push((await connection.runAndReadAll(statement)).getRowObjectsJson());
    return answers;
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}
