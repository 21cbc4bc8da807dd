import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Journal } from '../../../ingest/spool/journal.js';

let folder: string;
beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), 'whochanged-journal-'))));
afterEach(() => rm(folder, { recursive: true }));

const record = (text: string) => Buffer.from(text);

async function drained(journal: Journal): Promise<string[]> {
  const texts: string[] = [];
  while (
    await journal.drainSegment(async (records) => void texts.push(...records.map((item) => String(item))))
  );
  return texts;
}

it('gives what it was given, in order, also to who opens it again', async () => {
  const journal = await Journal.open(folder, { maxBytes: 1000 });
  await Promise.all(['one', 'two'].map((text) => journal.append(record(text))));
  await journal.append(record('three'));
  await journal.close();
  const again = await Journal.open(folder, { maxBytes: 1000 });
  expect(await drained(again)).toEqual(['one', 'two', 'three']);
  expect(again.isEmpty).toBe(true);
  expect(await readdir(folder)).toEqual([]);
});

it('waits for a write under way instead of saying that there is nothing', async () => {
  const journal = await Journal.open(folder, { maxBytes: 1000 });
  const appended = journal.append(record('first'));
  expect(journal.isEmpty).toBe(false);
  expect(await drained(journal)).toEqual(['first']);
  await appended;
  expect(journal.isEmpty).toBe(true);
});

it('gives the same records again when they could not be consumed', async () => {
  const journal = await Journal.open(folder, { maxBytes: 1000 });
  await journal.append(record('kept'));
  await expect(journal.drainSegment(() => Promise.reject(new Error('away')))).rejects.toThrow('away');
  expect(await drained(journal)).toEqual(['kept']);
});

it('refuses what has no room, and keeps the rest', async () => {
  const journal = await Journal.open(folder, { maxBytes: 30 });
  await journal.append(record('a'.repeat(20)));
  await expect(journal.append(record('b'))).rejects.toMatchObject({ code: 'overloaded' });
  expect(await drained(journal)).toEqual(['a'.repeat(20)]);
});
