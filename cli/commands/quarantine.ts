import { type Command, Option } from 'commander';
import { createContext, type GlobalFlags, wholeNumber, writeStructured } from '../context.js';
import { examples } from '../examples.js';
import { CliError, EXIT } from '../exit.js';
import { clock, safe } from '../render/text.js';
import { writeTable } from './lists.js';

interface Quarantined {
  id: string;
  source: string;
  receivedAt: string;
  reason: string;
  detail: string;
  replayable: boolean;
  state: string;
  seen: number;
}

interface Replayed {
  stored: number;
  duplicates: number;
  quarantined: number;
  detail?: string;
}

/** Ids are numbers of up to 18 digits, more than a JavaScript number holds exactly. */
function readID(value: string): string {
  if (/^\d{1,18}$/.test(value)) return value;
  throw new CliError(
    EXIT.usage,
    `ID ${value}: expected a number`,
    '`whochanged quarantine list` shows the ids',
  );
}

export function quarantineCommands(program: Command): void {
  const quarantine = program.command('quarantine').description('what could not be accepted');
  examples(quarantine, [
    ['quarantine', 'what waits to be looked at'],
    ['quarantine show 12', 'why, and the redacted original'],
  ]);

  const list = quarantine
    .command('list', { isDefault: true })
    .description('the rejected, newest first')
    .addOption(new Option('--state <state>', 'only those').choices(['open', 'replayed', 'dismissed']))
    .option('--source <source>', 'only what this source sent')
    .option('--limit <n>', 'at most this many', wholeNumber('--limit', 1, 1000), 50);
  examples(list, [['quarantine list --state open', 'what waits to be looked at']]).action(
    async (_flags: unknown, called: Command) => {
      const flags = called.optsWithGlobals<
        GlobalFlags & { state?: string; source?: string; limit: number }
      >();
      const context = createContext(flags);
      const { state, source, limit } = flags;
      const { items } = await context.client.get<{ items: Quarantined[] }>('/v1/quarantine', {
        state,
        source,
        limit,
      });
      writeTable(context, items, [
        { head: 'ID', value: (row) => row.id },
        { head: 'WHEN', value: (row) => clock(row.receivedAt, context.view.utc) },
        { head: 'SOURCE', value: (row) => row.source },
        { head: 'STATE', value: (row) => row.state },
        { head: 'SEEN', value: (row) => String(row.seen) },
        { head: 'REASON', value: (row) => row.reason },
        { head: 'DETAIL', value: (row) => row.detail, flexible: true },
      ]);
    },
  );

  const show = quarantine
    .command('show')
    .description('one rejected original, redacted')
    .argument('<ID>', 'as `quarantine list` shows it', readID);
  examples(show, [['quarantine show 12', 'why, and the redacted original']]).action(
    async (id: string, _flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>(), 'one');
      const item = await context.client.get<Quarantined & { sample: string }>(`/v1/quarantine/${id}`);
      if (writeStructured(context, item)) return;
      const { bold } = context.view.colors;
      const line = (name: string, value: string) => `${bold(`${name}:`.padEnd(10))}${safe(value)}\n`;
      context.out(
        line(
          'Received',
          `${clock(item.receivedAt, context.view.utc)} from ${item.source}, seen ${item.seen} times`,
        ) +
          line('Reason', `${item.reason}: ${item.detail}`) +
          line(
            'State',
            `${item.state}${item.replayable ? '' : ', can\u2019t be replayed: only its masked text was kept'}`,
          ) +
          `\n${item.sample.split('\n').map(safe).join('\n')}\n`,
      );
    },
  );

  const replay = quarantine
    .command('replay')
    .description('try to accept it again')
    .argument('<ID>', 'as `quarantine list` shows it', readID);
  examples(replay, [['quarantine replay 12', 'after an upgrade that knows such events']]).action(
    async (id: string, _flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>(), 'one');
      const answer = await context.client.post<Replayed>(`/v1/quarantine/${id}/replay`);
      const written = writeStructured(context, answer);
      if (answer.quarantined > 0)
        throw new CliError(EXIT.nothing, `it is still not accepted: ${answer.detail ?? 'no reason given'}`);
      if (!written) context.out(answer.stored > 0 ? 'stored\n' : 'it was stored already\n');
    },
  );

  const dismiss = quarantine
    .command('dismiss')
    .description('mark it as looked at')
    .argument('<ID>', 'as `quarantine list` shows it', readID);
  examples(dismiss, [['quarantine dismiss 12', 'it stays in the list as dismissed']]).action(
    async (id: string, _flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>(), 'one');
      const item = await context.client.post<Quarantined>(`/v1/quarantine/${id}/dismiss`);
      if (!writeStructured(context, item)) context.out(`${item.id} is ${item.state}\n`);
    },
  );
}
