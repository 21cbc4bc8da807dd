import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readCopies } from '../store/log/checkpoint-copies.js';
import { S3Clients } from '../store/s3-client.js';
import { parseS3Place } from '../store/s3-place.js';

/** Signed checkpoints that were kept elsewhere: every file of a folder, or every copy under an `s3://` URL. */
export async function readCheckpointCopies(from: string): Promise<string[]> {
  if (!from.startsWith('s3://')) {
    const names = (await readdir(from)).sort();
    return Promise.all(names.map((name) => readFile(join(from, name), 'utf8')));
  }
  const clients = new S3Clients();
  try {
    return await readCopies(clients, parseS3Place(from));
  } finally {
    await clients.stop();
  }
}
