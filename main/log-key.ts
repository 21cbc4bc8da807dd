import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdir, open, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { WhochangedError } from '../core/errors.js';

/**
 * The Ed25519 key that signs the proof log's checkpoints, as PKCS #8 PEM. Made on first start. It is kept outside the
 * database: whoever can write there can't sign what they wrote.
 * @throws WhochangedError when the file is there and doesn't hold such a key
 */
export async function loadOrCreateLogKey(path: string): Promise<KeyObject> {
  const found = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (found !== undefined) return readKey(path, found);
  const { privateKey } = generateKeyPairSync('ed25519');
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(privateKey.export({ type: 'pkcs8', format: 'pem' }));
    await file.sync();
  } finally {
    await file.close();
  }
  return privateKey;
}

function readKey(path: string, pem: Buffer): KeyObject {
  let key: KeyObject | undefined;
  try {
    key = createPrivateKey(pem);
  } catch {
    // Told below; OpenSSL's words could quote the file.
  }
  if (key?.asymmetricKeyType !== 'ed25519')
    throw new WhochangedError('internal', `${path}: expected an Ed25519 private key in PEM`, {
      hint: 'restore it from your backup, or put another there: openssl genpkey -algorithm ed25519',
    });
  return key;
}
