import type { Command } from 'commander';
import { createContext, type GlobalFlags, writeStructured } from '../context.js';
import { examples } from '../examples.js';
import { age } from '../render/text.js';
import { writeTable } from './lists.js';

interface Status {
  version: string;
  roles: string[];
  spool: { bytes: number } | null;
  jobs: Array<{ job: string; startedAt: string; rows: number; error: string | null }>;
  log: {
    leaves: number;
    signedLeaves: number;
    signedAt: string | null;
    copiedLeaves: number;
    copiedAt: string | null;
    lockedUntil: string | null;
    copyError: string | null;
  };
}

export function statusCommand(program: Command): void {
  const command = program.command('status').description('the server, its spool, its proof log and its jobs');
  examples(command, [['status', 'is it well?']]).action(async (_flags: unknown, called: Command) => {
    const context = createContext(called.optsWithGlobals<GlobalFlags>(), 'one');
    const status = await context.client.get<Status>('/v1/status');
    if (writeStructured(context, status)) return;
    context.out(
      `whochanged ${status.version} at ${context.client.url}, roles ${status.roles.join(', ')}, spool ${status.spool?.bytes ?? '-'} bytes\n`,
    );
    context.out(`proof log: ${describeLog(status.log, context.view.now)}\n\n`);
    writeTable(context, status.jobs, [
      { head: 'JOB', value: (row) => row.job },
      { head: 'LAST RUN', value: (row) => `${age(row.startedAt, context.view.now)} ago` },
      { head: 'ROWS', value: (row) => String(row.rows) },
      { head: 'ERROR', value: (row) => row.error ?? '', flexible: true },
    ]);
  });
}

/** A log whose checkpoints nobody keeps elsewhere can be cut off unseen: that is said as plainly as what is well. */
function describeLog(log: Status['log'], now: number): string {
  const signed =
    log.signedAt === null
      ? 'no checkpoint signed yet'
      : `${log.signedLeaves} signed ${age(log.signedAt, now)} ago`;
  const lock =
    log.lockedUntil === null
      ? 'not locked: it can be deleted'
      : Date.parse(log.lockedUntil) > now
        ? `locked until ${log.lockedUntil}`
        : `its lock ended at ${log.lockedUntil}`;
  const copied =
    log.copiedAt === null
      ? 'no checkpoint copied elsewhere'
      : `the checkpoint of ${log.copiedLeaves} copied ${age(log.copiedAt, now)} ago, ${lock}`;
  const error = log.copyError === null ? '' : `; the newest could not be copied: ${log.copyError}`;
  return `${log.leaves} leaves, ${signed}; ${copied}${error}`;
}
