import { randomBytes } from 'node:crypto';
import { chmod, mkdir, open, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { WhochangedError } from '../core/errors.js';

const KEY_BYTES = 32;

/**
 * The key that redaction's digests are made with, 32 bytes in hex. Made on first start. It is kept outside the
 * database: whoever has only the database can't try secrets against the digests.
 * @throws WhochangedError when the file is there and doesn't hold a key
 */
export async function loadOrCreateKey(path: string): Promise<Buffer> {
  const found = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (found !== undefined) {
    const key = Buffer.from(found.trim(), 'hex');
    if (key.length !== KEY_BYTES) {
      throw new WhochangedError('internal', `${path}: expected ${KEY_BYTES} bytes in hex`, {
        hint: 'restore the key from your backup; a new key makes equal secrets look changed',
      });
    }
    return key;
  }
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const key = randomBytes(KEY_BYTES);
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(`${key.toString('hex')}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await chmod(path, 0o600);
  return key;
}
