import { execFileSync } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
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

/** Whether this machine lets us have a small disk of our own. */
function mountSmallDisk(path: string): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', path], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

it('says that its disk is full, leaves no pieces there, and goes on when there is room', async ({ skip }) => {
  if (!mountSmallDisk(folder)) skip('mounting a disk takes root');
  try {
    const journal = await Journal.open(folder, { maxBytes: 10_000_000 });
    await journal.append(record('first'));
    await writeFile(join(folder, 'ballast'), Buffer.alloc(160_000));
    const large = record('x'.repeat(200_000));
    for (let i = 0; i < 3; i++)
      await expect(journal.append(large)).rejects.toMatchObject({
        code: 'overloaded',
        message: expect.stringContaining('disk is full'),
      });
    expect((await readdir(folder)).sort()).toEqual(['000000000001.spool', 'ballast']);
    await rm(join(folder, 'ballast'));
    await journal.append(large);
    expect(await drained(journal)).toEqual(['first', String(large)]);
    expect(await readdir(folder)).toEqual([]);
    expect(journal.isEmpty).toBe(true);
    await journal.close();
  } finally {
    execFileSync('umount', ['-l', folder]);
  }
});
