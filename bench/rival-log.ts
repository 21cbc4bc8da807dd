import { execFile } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { createGzip } from 'node:zlib';
import { assertRoom, type CopiedEvents, linesOfCopy } from './copied-events.js';
import { STEP_SECONDS } from './fill.js';
import { LIMIT, type RivalStore } from './rival-store.js';

const run = promisify(execFile);
const LINES_A_CHUNK = 500;
/** Compressed at once. */
const AT_ONCE = 2;
const SCRIPT =
  'words=$1 program=$2 limit=$3; shift 3; zgrep -hF "$words" "$@" | jq -nc "$program" | tail -n "$limit"';

/**
 * The audit log as an apiserver that rotates it leaves it, gzipped (level 6), a file for each copy of the events. `zgrep | jq`
 * reads the files whose times a question is about. Of those it reads the newest until they hold `most` events: where that
 * leaves some out, the answer says so.
 * @throws NotRun where it wouldn't fit
 */
export async function openLog(
  folder: string,
  copied: CopiedEvents,
  most: number,
  say: (text: string) => void,
): Promise<RivalStore> {
  const log = join(folder, 'rival-log');
  const there = await readdir(log).catch(() => undefined);
  if (there?.length !== copied.copies + 1) await write(log, copied, say);
  let bytes = 0;
  for (const file of await readdir(log)) bytes += (await stat(join(log, file))).size;
  return {
    bytes,
    async ask({ log: question }, place) {
      const { words, program, since, until } = question(place);
      const about = copiesWithin(copied, since, until);
      const read = about.slice(-Math.max(1, Math.floor(most / copied.lines.length)));
      if (read.length === 0) return { rows: 0 };
      const files = read.map((copy) => join(log, nameOf(copy)));
      const { stdout } = await run('bash', ['-c', SCRIPT, 'bash', words, program, String(LIMIT), ...files], {
        // Comparing bytes is faster than comparing characters.
        env: { ...process.env, LC_ALL: 'C' },
        maxBuffer: 1 << 30,
      });
      return {
        rows: stdout.split('\n').length - 1,
        ...(read.length < about.length && { of: read.length * copied.lines.length }),
      };
    },
    close: async (keep) => {
      if (!keep) await rm(log, { recursive: true });
    },
  };
}

const nameOf = (copy: number) => `audit-${String(copy).padStart(5, '0')}.log.gz`;

/** The copies that may hold events of a time, oldest first. */
function copiesWithin(copied: CopiedEvents, since = '0000-01-01', until = '9999-01-01'): number[] {
  return Array.from({ length: copied.copies + 1 }, (_, copy) => copy).filter((copy) => {
    const from = copied.since + copy * STEP_SECONDS * 1000;
    return from < Date.parse(until) && from + copied.spanMs >= Date.parse(since);
  });
}

/** Works beside the final name, so that one that was interrupted isn't taken for whole. */
async function write(log: string, copied: CopiedEvents, say: (text: string) => void): Promise<void> {
  const fresh = `${log}.new`;
  await rm(fresh, { recursive: true, force: true });
  await mkdir(fresh);
  try {
    for (let first = 0; first <= copied.copies; first += AT_ONCE) {
      const last = Math.min(copied.copies, first + AT_ONCE - 1);
      const copies = Array.from({ length: last - first + 1 }, (_, i) => first + i);
      await Promise.all(copies.map((copy) => writeCopy(join(fresh, nameOf(copy)), copied, copy)));
      if (first === 0) await assertRoom(fresh, (await stat(join(fresh, nameOf(0)))).size * copied.copies);
      if (last % 10 === 1 || last === copied.copies) say(`log: copy ${last} of ${copied.copies}`);
    }
  } catch (error) {
    await rm(fresh, { recursive: true });
    throw error;
  }
  await rm(log, { recursive: true, force: true });
  await rename(fresh, log);
}

async function writeCopy(file: string, copied: CopiedEvents, copy: number): Promise<void> {
  function* chunks() {
    let chunk: string[] = [];
    for (const line of linesOfCopy(copied, copy)) {
      if (chunk.push(line, '\n') < LINES_A_CHUNK * 2) continue;
      yield chunk.join('');
      chunk = [];
    }
    yield chunk.join('');
  }
  await pipeline(Readable.from(chunks()), createGzip(), createWriteStream(file));
}
