import type { Command } from 'commander';
import type { AccessEvent } from '../../core/access/access-event.js';
import { createContext, type GlobalFlags, timeOption, wholeNumber } from '../context.js';
import { examples } from '../examples.js';
import { clock } from '../render/text.js';
import { writeTable } from './lists.js';

/** An item of `GET /v1/access-events`. */
interface AccessEventItem extends Omit<AccessEvent, 'at'> {
  seq: string;
  at: string;
}

interface Flags extends GlobalFlags {
  caller?: string;
  route?: string;
  sourceIp?: string;
  refused?: boolean;
  since?: string;
  until?: string;
  limit: number;
}

/** Who asked the server for what. */
export function accessEventsCommand(program: Command): void {
  const command = program
    .command('access-events')
    .description('who asked this server for what: every request is recorded')
    .option('--caller <name>', 'exact')
    .option('--route <route>', 'exact, such as /v1/changes/:id')
    .option('--source-ip <address>', 'exact')
    .option('--refused', 'only what was refused')
    .option('--since <time>', 'RFC 3339, or 30m, 2h, 7d ago', timeOption('--since'))
    .option('--until <time>', 'up to but not including', timeOption('--until'))
    .option('--limit <n>', 'at most this many', wholeNumber('--limit', 1, 1000), 50);
  examples(command, [
    ['access-events --caller alice@example.com --since 7d', 'what she looked at'],
    ['access-events --refused --since 24h', 'who tried what is not theirs'],
    ['access-events --route /v1/changes.csv -o csv', 'who exported, as CSV'],
  ]).action(async (_flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<Flags>();
    const context = createContext(flags);
    const { caller, route, sourceIp, refused, since, until, limit } = flags;
    const query = { caller, route, sourceIP: sourceIp, refused, since, until, limit };
    const { items, next } = await context.client.get<{ items: AccessEventItem[]; next: string | null }>(
      '/v1/access-events',
      query,
    );
    writeTable(context, items, [
      { head: 'AT', value: (row) => clock(row.at, context.view.utc) },
      { head: 'CALLER', value: (row) => row.caller || '-', most: 30 },
      { head: 'BY', value: (row) => row.callerKind },
      { head: 'ROLE', value: (row) => row.role ?? '-' },
      { head: 'FROM', value: (row) => row.sourceIP },
      { head: 'STATUS', value: (row) => String(row.status) },
      { head: 'ASKED', value: (row) => `${row.method} ${row.target}`, flexible: true },
    ]);
    if (next !== null) context.err(`there are more: raise --limit, or use --until ${items.at(-1)!.at}\n`);
  });
}
