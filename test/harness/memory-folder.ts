import {
  accessSync,
  chmodSync,
  constants,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
} from 'node:fs';
import { freemem } from 'node:os';
import { join } from 'node:path';

const SHARED_MEMORY = '/dev/shm';
const NAME = 'whochanged-tests-';
/** What the whole suite has there at once is a quarter of it: databases of tests, and Postgres' log of writes. */
const ROOM_BYTES = 4 * 2 ** 30;

/**
 * Makes a folder in memory for what this run's tests write, where the machine has one with room: a database is hundreds of
 * files, and to make and remove those on a disk takes a tenth of the suite's CPU. It is removed when this process ends, or,
 * where that was killed, by the next run.
 * @returns undefined where memory is short, and in most containers: theirs is small, and nothing there can be run
 */
export function memoryFolder(): string | undefined {
  if (!hasRoom()) return undefined;
  for (const name of readdirSync(SHARED_MEMORY)) {
    if (name.startsWith(NAME) && !runsElsewhere(Number(name.slice(NAME.length))))
      rmSync(join(SHARED_MEMORY, name), { recursive: true, force: true });
  }
  const folder = join(SHARED_MEMORY, `${NAME}${process.pid}`);
  mkdirSync(folder);
  // As root, Postgres runs under another account, which has to pass; and others' programs put their files there.
  chmodSync(folder, 0o1777);
  process.once('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));
  return folder;
}

function hasRoom(): boolean {
  try {
    accessSync(SHARED_MEMORY, constants.W_OK);
    const mount = readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .map((line) => line.split(' '))
      .findLast(([, folder]) => folder === SHARED_MEMORY);
    const [, , type, options] = mount ?? [];
    if (type !== 'tmpfs' || options!.split(',').includes('noexec')) return false;
    const { bavail, bsize } = statfsSync(SHARED_MEMORY);
    // Half of what is free is for the tests themselves.
    return Math.min(bavail * bsize, freemem() / 2) >= ROOM_BYTES;
  } catch {
    return false;
  }
}

function runsElsewhere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return pid !== process.pid;
  } catch (error) {
    return (error as { code?: string }).code === 'EPERM';
  }
}
