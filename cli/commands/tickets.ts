import { type Command, Option } from 'commander';
import { JIRA_MAPPING_KEYS } from '../../core/tickets/jira.js';
import { collect, createContext, type GlobalFlags, timeOption, wholeNumber } from '../context.js';
import { examples } from '../examples.js';
import { CliError, EXIT } from '../exit.js';
import { importRecords } from '../import-records.js';
import { type PersonItem, personText } from '../person.js';
import { clock } from '../render/text.js';
import { writeTable } from './lists.js';

interface Ticket {
  system: string;
  id: string;
  kind: string;
  state: string;
  approved: boolean;
  approvers: Array<{ person: PersonItem }>;
  windowStart?: string;
  windowEnd?: string;
  configurationItems: string[];
  seenAt: string;
}

const KEYS = JIRA_MAPPING_KEYS.join(', ');

/** `windowStart=customfield_10200`; approvedStates takes several with commas. */
function readMapping(pairs: string[]): Record<string, string | string[]> {
  const mapping: Record<string, string | string[]> = {};
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    const key = pair.slice(0, Math.max(at, 0));
    const value = pair.slice(at + 1).trim();
    if (!(JIRA_MAPPING_KEYS as readonly string[]).includes(key) || value === '')
      throw new CliError(EXIT.usage, `--map ${pair}: expected KEY=FIELD`, `KEY is one of ${KEYS}`);
    mapping[key] = key === 'approvedStates' ? value.split(',').map((state) => state.trim()) : value;
  }
  return mapping;
}

export function ticketCommands(program: Command): void {
  const ticket = program.command('ticket').description('change tickets and incidents');
  examples(ticket, [
    ['ticket import change_request.json --system servicenow', 'take them from an export'],
    ['ticket show CHG0030192', 'every state it was seen in'],
  ]);

  const list = ticket
    .command('list', { isDefault: true })
    .description('as last told, the last seen first')
    .option('--system <system>', 'only of servicenow, or jira')
    .option('--item <name>', 'only with this configuration item')
    .option('--at <time>', 'only those whose window covers this time', timeOption('--at'))
    .option('--limit <n>', 'at most this many', wholeNumber('--limit', 1, 1000), 50);
  examples(list, [['ticket list --at 2h', 'whose window was open two hours ago']]).action(
    async (_flags: unknown, called: Command) => {
      const flags = called.optsWithGlobals<
        GlobalFlags & { system?: string; item?: string; at?: string; limit: number }
      >();
      const context = createContext(flags);
      const { system, item, at, limit } = flags;
      const { items } = await context.client.get<{ items: Ticket[] }>('/v1/tickets', {
        system,
        item,
        at,
        limit,
      });
      writeTickets(context, items);
    },
  );

  const show = ticket
    .command('show')
    .description('every state that a ticket was seen in, the oldest first')
    .argument('<ID>', 'such as CHG0030192 or OPS-17')
    .option('--system <system>', 'where two systems have one of that id');
  examples(show, [['ticket show CHG0030192', 'when it was approved, and for which window']]).action(
    async (id: string, _flags: unknown, called: Command) => {
      const flags = called.optsWithGlobals<GlobalFlags & { system?: string }>();
      const context = createContext(flags);
      const { items } = await context.client.get<{ items: Ticket[] }>(
        `/v1/tickets/${encodeURIComponent(id)}`,
        {
          system: flags.system,
        },
      );
      writeTickets(context, items);
    },
  );

  const load = ticket
    .command('import')
    .description('take tickets from an export, CSV or JSON')
    .argument('<FILE>', 'an export, or an answer of the API')
    .addOption(
      new Option('--system <system>', 'whose shape it has')
        .choices(['servicenow', 'jira'])
        .makeOptionMandatory(),
    )
    .option('--map <KEY=FIELD>', "a field of your Jira's (repeatable): docs/hosts.md", collect);
  examples(load, [
    ['ticket import change_request.json --system servicenow', 'an answer of the Table API'],
    ['ticket import issues.json --system jira --map windowStart=customfield_10200', 'with a field of yours'],
  ]).action(async (file: string, _flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<GlobalFlags & { system: string; map?: string[] }>();
    const context = createContext(flags, 'one');
    const { system, map } = flags;
    if (system !== 'jira' && map)
      throw new CliError(EXIT.usage, '--map: only a Jira has fields of its own', 'leave it out');
    await importRecords(context, file, '/v1/tickets/import', {
      system,
      ...(map && { mapping: readMapping(map) }),
    });
  });
}

function writeTickets(context: ReturnType<typeof createContext>, items: Ticket[]): void {
  const { utc } = context.view;
  const time = (value: string | undefined) => (value === undefined ? '' : clock(value, utc));
  writeTable(context, items, [
    { head: 'ID', value: (row) => row.id },
    { head: 'KIND', value: (row) => row.kind },
    { head: 'STATE', value: (row) => row.state },
    { head: 'APPROVED', value: (row) => (row.approved ? 'yes' : 'no') },
    { head: 'BY', value: (row) => row.approvers.map(({ person }) => personText(person)).join(', ') },
    { head: 'FROM', value: (row) => time(row.windowStart) },
    { head: 'UNTIL', value: (row) => time(row.windowEnd) },
    { head: 'SEEN', value: (row) => clock(row.seenAt, utc), optional: true },
    { head: 'ITEMS', value: (row) => row.configurationItems.join(', '), flexible: true },
  ]);
}
