import { accessSync, constants, readFileSync, statfsSync } from 'node:fs';
import { freemem } from 'node:os';

const SHARED_MEMORY = '/dev/shm';
/** What the whole suite has there at once is a quarter of it: databases of tests, and Postgres' log of writes. */
const ROOM_BYTES = 4 * 2 ** 30;

/**
 * A folder in memory for what tests write, where the machine has one with room: a database is hundreds of files, and to
 * make and remove those on a disk takes a tenth of the suite's CPU. A container's is small, or nothing there can be run.
 */
export function memoryFolder(): string | undefined {
  try {
    accessSync(SHARED_MEMORY, constants.W_OK);
    const mount = readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .map((line) => line.split(' '))
      .findLast(([, folder]) => folder === SHARED_MEMORY);
    const [, , type, options] = mount ?? [];
    if (type !== 'tmpfs' || options!.split(',').includes('noexec')) return undefined;
    const { bavail, bsize } = statfsSync(SHARED_MEMORY);
    // Half of what is free is for the tests themselves.
    return Math.min(bavail * bsize, freemem() / 2) >= ROOM_BYTES ? SHARED_MEMORY : undefined;
  } catch {
    return undefined;
  }
}
