import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Signed checkpoints that were kept elsewhere: every file of a folder. */
export async function readCheckpointCopies(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).sort();
  return Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')));
}
