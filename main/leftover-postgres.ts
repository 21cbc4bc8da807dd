import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Logger } from 'pino';
import { WhochangedError } from '../core/errors.js';

const STOP_TIMEOUT_MS = 20_000;

/**
 * If our process was killed, its Postgres lives on and holds the folder: it is stopped, so that there is one owner.
 * Must be called by the only owner of the folder (owner-lock.ts).
 * @param data the data folder, as it was given to postgres
 * @throws WhochangedError when it doesn't stop
 */
export async function stopLeftover(data: string, log: Logger): Promise<void> {
  const pidFile = join(data, 'postmaster.pid');
  const content = await readFile(pidFile, 'utf8').catch(() => '');
  const pid = Number(content.split('\n')[0]);
  if (!Number.isInteger(pid) || pid <= 0) return;
  if (!(await isPostgresOf(pid, data))) {
    // In a container that starts anew some other process easily has that id, and Postgres would take it for itself.
    // Its parent's id it knows not to be one, and then looks whether the old shared memory is in use, as it should
    // (src/backend/utils/init/miscinit.c, CreateLockFile).
    await writeFile(pidFile, content.replace(/^\d+/, String(process.pid)));
    return;
  }
  log.info({ pid }, 'stopping the Postgres that an earlier process left behind');
  for (const signal of ['SIGINT', 'SIGQUIT'] as const) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ESRCH') return;
      throw error;
    }
    const until = Date.now() + STOP_TIMEOUT_MS;
    while (Date.now() < until) {
      if (!(await isPostgresOf(pid, data))) return;
      await sleep(50);
    }
  }
  throw new WhochangedError(
    'internal',
    `the Postgres with process id ${pid}, left behind by an earlier process, doesn't stop`,
    { hint: `end it with: kill -9 ${pid}` },
  );
}

/** Whether a process is the postmaster of this folder: its id alone may belong to another one by now. */
async function isPostgresOf(pid: number, data: string): Promise<boolean> {
  const command =
    process.platform === 'linux'
      ? await readFile(`/proc/${pid}/cmdline`, 'utf8').then(
          (text) => text.split('\0').join(' '),
          () => '',
        )
      : await promisify(execFile)('ps', ['-o', 'command=', '-p', String(pid)]).then(
          ({ stdout }) => stdout,
          () => '',
        );
  return command.includes('postgres') && `${command} `.includes(` ${data} `);
}

function sleep(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}
