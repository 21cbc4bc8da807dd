import { readFile } from 'node:fs/promises';
import { NoteError, parseVerifierKey, type VerifierKey } from '../core/log/note.js';

/**
 * Trusted keys from a file: one a line, `NAME+1a2b3c4d+BASE64`; blank lines and lines with # are passed over.
 * @throws NoteError naming file and line
 */
export async function readTrustedKeys(path: string): Promise<VerifierKey[]> {
  const lines = (await readFile(path, 'utf8')).split('\n');
  const keys: VerifierKey[] = [];
  for (const [i, line] of lines.entries()) {
    const text = line.trim();
    if (text === '' || text.startsWith('#')) continue;
    try {
      keys.push(parseVerifierKey(text));
    } catch (error) {
      throw new NoteError(`${path}, line ${i + 1}: ${(error as Error).message}`);
    }
  }
  if (keys.length === 0) throw new NoteError(`${path} holds no key`);
  return keys;
}
