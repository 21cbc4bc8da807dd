import { setTimeout as pause } from 'node:timers/promises';
import type { Command } from 'commander';
import {
  type Context,
  createContext,
  type GlobalFlags,
  timeOption,
  wholeNumber,
  writeStructured,
} from '../context.js';
import { examples } from '../examples.js';
import { CliError, EXIT } from '../exit.js';
import { Progress } from '../render/progress.js';
import { age } from '../render/text.js';
import { type LocationFlags, locationBody, locationOptions } from '../s3-location.js';
import { writeTable } from './lists.js';
import type { Trouble } from './s3-sources.js';

interface Backfill {
  id: number;
  source: string;
  cluster: string;
  bucket: string;
  prefix: string;
  createdAt: string;
  state: 'listing' | 'reading' | 'done' | 'cancelled';
  keys: number;
  objects: Record<string, number>;
  found: number;
  finished: number;
  bytes: number;
  bytesRead: number;
  events: number;
  duplicates: number;
  quarantined: number;
  error: Trouble | null;
  lastError: Trouble | null;
}

interface BackfillFlags extends GlobalFlags, LocationFlags {
  cluster?: string;
  name?: string;
  from?: string;
  to?: string;
  detach?: boolean;
}

const POLL_MS = 500;
/** Without progress for so long, following ends; the backfill itself goes on. */
const STANDSTILL_MS = 120_000;
/** What passes by itself. */
const PASSING = new Set(['throttled', 'server_error', 'unreachable', 'failed', 'damaged', 'internal']);

export function backfillCommand(program: Command): void {
  const command = program
    .command('backfill')
    .description('read what lies in a bucket already, and show how far it is')
    .argument('<WHAT>', 's3://BUCKET/PREFIX, or an s3 source')
    .option('--cluster <cluster>', 'the cluster it belongs to')
    .option('--from <time>', 'from this time on', timeOption('--from'))
    .option('--to <time>', 'up to but not including', timeOption('--to'))
    .option('--name <name>', 'of the source that is made for it')
    .option('--detach', 'start it and don\u2019t follow');
  locationOptions(command);
  examples(command, [
    ['backfill s3://audit-logs/prod/ --cluster prod --from 2026-01-01 --to 2026-02-01', 'January'],
    ['backfill audit-logs-prod --from 90d', 'of a source that is followed'],
    ['backfill list', 'how far are they?'],
  ]).action(async (what: string, _flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<BackfillFlags>();
    const context = createContext(flags, 'one');
    const body = { ...target(what, flags), from: flags.from, to: flags.to };
    const started = await context.client.post<Backfill>('/v1/backfills', body);
    if (flags.detach) {
      if (!writeStructured(context, started)) context.out(`${started.id}\n`);
      return;
    }
    finish(context, await follow(context, started));
  });

  const list = command.command('list').description('the backfills, the newest first');
  examples(list, [['backfill list', 'how far are they?']]).action(
    async (_flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>());
      const { items } = await context.client.get<{ items: Backfill[] }>('/v1/backfills');
      writeTable(context, items, [
        { head: 'ID', value: (row) => String(row.id) },
        { head: 'SOURCE', value: (row) => row.source },
        { head: 'STARTED', value: (row) => `${age(row.createdAt, context.view.now)} ago` },
        { head: 'STATE', value: (row) => row.state },
        { head: 'OBJECTS', value: (row) => `${row.finished} of ${row.found}` },
        { head: 'EVENTS', value: (row) => String(row.events) },
        { head: 'WRONG', value: (row) => (row.error ?? row.lastError)?.message ?? '', flexible: true },
      ]);
    },
  );

  const cancel = command
    .command('cancel')
    .description('read no more for it; what was read stays')
    .argument('<ID>', 'as `backfill list` shows it', wholeNumber('ID', 1, 2_147_483_647));
  examples(cancel, [['backfill cancel 3', 'the same range can be asked for again']]).action(
    async (id: number, _flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>(), 'one');
      const cancelled = await context.client.post<Backfill>(`/v1/backfills/${id}/cancel`);
      if (!writeStructured(context, cancelled)) context.out(`${cancelled.id} is cancelled\n`);
    },
  );
}

function target(what: string, flags: BackfillFlags): Record<string, unknown> {
  if (!what.startsWith('s3://')) return { source: what };
  if (flags.cluster === undefined)
    throw new CliError(EXIT.usage, '--cluster is missing', 'say which cluster these events are of');
  return { ...locationBody(what, flags), cluster: flags.cluster, name: flags.name };
}

/** Shows the progress until it ends, or stands for a reason that somebody has to remove. */
async function follow(context: Context, started: Backfill): Promise<Backfill> {
  const progress = new Progress(`backfill ${started.id}`);
  const interrupted = () => {
    progress.stop();
    context.err(
      `it goes on in the server: the same command follows it again, \`whochanged backfill cancel ${started.id}\` ends it\n`,
    );
    process.exit(130);
  };
  process.once('SIGINT', interrupted);
  let mark = '';
  let markedAt = Date.now();
  try {
    for (let now = started; ; ) {
      const listing = now.state === 'listing';
      progress.update({
        done: now.bytesRead,
        total: listing ? undefined : now.bytes,
        note: `${now.finished} of ${now.found} objects${listing ? `, listing: ${now.keys} keys` : ''}, ${now.events} events`,
      });
      if (now.state === 'done' || now.state === 'cancelled') return now;
      const seen = `${now.keys} ${now.finished} ${now.bytesRead} ${now.events}`;
      if (seen !== mark) markedAt = Date.now();
      mark = seen;
      const trouble = standing(now);
      if (trouble && (!PASSING.has(trouble.code) || Date.now() - markedAt > STANDSTILL_MS))
        throw new CliError(
          EXIT.failed,
          `it stands: ${trouble.message}`,
          `${trouble.hint ? `${trouble.hint}; ` : ''}it is tried again by itself, and the same command follows it`,
        );
      await pause(POLL_MS);
      now = await context.client.get<Backfill>(`/v1/backfills/${started.id}`);
    }
  } finally {
    process.off('SIGINT', interrupted);
    progress.stop();
  }
}

/** Why nothing goes on: the listing fails, or all objects that are left do. */
function standing({ error, lastError, objects }: Backfill): Trouble | undefined {
  if (error) return error;
  const { new: waiting = 0, leased = 0, failed = 0 } = objects;
  return waiting + leased === 0 && failed > 0 ? (lastError ?? undefined) : undefined;
}

function finish(context: Context, done: Backfill): void {
  if (!writeStructured(context, done)) {
    const states = Object.entries(done.objects).map(([state, count]) => `${count} ${state}`);
    context.out(
      `${done.state}: ${done.found} objects (${states.join(', ') || 'none'}), ${done.events} events, ${done.duplicates} of them known before, ${done.quarantined} quarantined\n`,
    );
  }
  const { damaged = 0 } = done.objects;
  if (damaged > 0)
    throw new CliError(
      EXIT.failed,
      `${damaged} objects are damaged: what could be read of them is stored`,
      `see \`whochanged source objects ${done.source} --state damaged\``,
    );
}
