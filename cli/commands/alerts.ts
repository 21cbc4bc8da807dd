import type { Command } from 'commander';
import {
  collect,
  createContext,
  type GlobalFlags,
  timeOption,
  wholeNumber,
  writeStructured,
} from '../context.js';
import { examples } from '../examples.js';
import { EXIT } from '../exit.js';
import { clock, safe } from '../render/text.js';
import { alertRuleCommands } from './alert-rules.js';
import { writeTable } from './lists.js';

interface Alert {
  id: string;
  cluster: string;
  rule: string;
  title: string;
  severity: string;
  message: string;
  firstAt: string;
  lastAt: string;
  matches: number;
  raisedAt: string;
  namespace?: string;
  object?: string;
  username?: string;
  change?: string;
  eventID?: string;
  gap?: string;
  source?: string;
  endedAt?: string;
  endReason?: string;
  acked?: { at: string; by: string; note?: string };
}

interface Delivery {
  alert: string;
  cluster: string;
  rule: string;
  receiver: string;
  notice: string;
  state: string;
  attempts: number;
  dueAt?: string;
  settledAt?: string;
  tries: Array<{ at: string; status: number | null; error: string | null }>;
}

interface Page<T> {
  items: T[];
  next: string | null;
}

/** Alerts, and the rules that raise them. */
export function alertCommands(program: Command): void {
  const alert = program.command('alert').description('alerts, and the rules that raise them');
  examples(alert, [
    ['alert list --since 24h', 'what was alerted today'],
    ['alert test rules.yaml --since 30d', 'what rules would have alerted'],
    ['alert check rules.yaml', 'which rules can be used?'],
  ]);
  listCommand(alert);
  showCommand(alert);
  ackCommand(alert);
  deliveriesCommand(alert);
  alertRuleCommands(alert);
}

interface ListFlags extends GlobalFlags {
  cluster?: string[];
  namespace?: string[];
  rule?: string[];
  severity?: string[];
  open?: boolean;
  since?: string;
  until?: string;
  limit: number;
  exitCode?: boolean;
}

function listCommand(alert: Command): void {
  const command = alert
    .command('list')
    .description('alerts, those raised last first')
    .option('--cluster <cluster>', 'only this cluster (may be repeated)', collect)
    .option('-n, --namespace <namespace>', 'only this namespace (may be repeated)', collect)
    .option('--rule <rule>', 'only of this rule (may be repeated)', collect)
    .option('--severity <severity>', 'critical, high, medium, low or informational', collect)
    .option('--open', 'only those that nobody has seen to')
    .option('--since <time>', 'raised: RFC 3339, or 30m, 2h, 7d ago', timeOption('--since'))
    .option('--until <time>', 'up to but not including', timeOption('--until'))
    .option('--limit <n>', 'at most this many', wholeNumber('--limit', 1, 1000), 50)
    .option('--exit-code', 'exit with 1 when there is none');
  examples(command, [
    ['alert list --open --severity critical --severity high', 'what waits for somebody'],
    ['alert list --rule exec-in-production --since 30d -o csv', 'a month, for a spreadsheet'],
  ]).action(async (_flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<ListFlags>();
    const context = createContext(flags);
    const { cluster, namespace, rule, severity, since, until, limit } = flags;
    const query = {
      cluster,
      namespace,
      rule,
      severity,
      since,
      until,
      limit,
      ...(flags.open && { acked: false }),
    };
    const page = await context.client.get<Page<Alert>>('/v1/alerts', query);
    const { view } = context;
    writeTable(context, page.items, [
      { head: 'ID', value: (row) => row.id },
      {
        head: 'RAISED',
        value: (row) => clock(row.raisedAt, view.utc),
        paint: (text) => view.colors.dim(text),
      },
      { head: 'CLUSTER', value: (row) => row.cluster, optional: true },
      { head: 'SEVERITY', value: (row) => row.severity },
      { head: 'RULE', value: (row) => row.rule, most: 40 },
      { head: 'MATCHES', value: (row) => String(row.matches) },
      { head: 'SEEN TO BY', value: (row) => row.acked?.by ?? '', optional: true },
      { head: 'WHAT', value: (row) => row.message, flexible: true },
    ]);
    if (page.next !== null) context.err('(there is more: raise --limit, or narrow the question)\n');
    if (flags.exitCode && page.items.length === 0) process.exitCode = EXIT.nothing;
  });
}

function showCommand(alert: Command): void {
  const command = alert.command('show').description('one alert').argument('<ID>', 'as `alert list` shows it');
  examples(command, [['alert show 17', 'what it is about']]).action(
    async (id: string, _flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>(), 'one');
      const found = await context.client.get<Alert>(`/v1/alerts/${encodeURIComponent(id)}`);
      if (writeStructured(context, found)) return;
      const { utc } = context.view;
      const lines: Array<[string, string | undefined]> = [
        ['rule', `${found.rule} (${found.severity})`],
        ['what', found.message],
        ['cluster', found.cluster],
        ['object', found.object],
        ['user', found.username],
        ['first', clock(found.firstAt, utc)],
        ['last', `${clock(found.lastAt, utc)}, ${found.matches} in all`],
        ['raised', clock(found.raisedAt, utc)],
        [
          'over',
          found.endedAt &&
            `${clock(found.endedAt, utc)}${found.endReason === 'disabled' ? ': the source was disabled' : ''}`,
        ],
        ['change', found.change],
        ['event', found.eventID],
        ['gap', found.gap],
        [
          'seen to',
          found.acked &&
            `${found.acked.by}, ${clock(found.acked.at, utc)}${found.acked.note ? `: ${found.acked.note}` : ''}`,
        ],
      ];
      context.out(`${context.view.colors.bold(safe(found.title))}\n`);
      for (const [name, value] of lines)
        if (value !== undefined && value !== '') context.out(`  ${name.padEnd(8)} ${safe(value)}\n`);
    },
  );
}

function ackCommand(alert: Command): void {
  const command = alert
    .command('ack')
    .description('note that you have seen to an alert')
    .argument('<ID>', 'as `alert list` shows it')
    .option('--note <text>', 'what came of it');
  examples(command, [["alert ack 17 --note 'planned, CHG-1042'", 'it leaves `alert list --open`']]).action(
    async (id: string, _flags: unknown, called: Command) => {
      const flags = called.optsWithGlobals<GlobalFlags & { note?: string }>();
      const context = createContext(flags, 'one');
      const path = `/v1/alerts/${encodeURIComponent(id)}/ack`;
      const found = await context.client.post<Alert>(
        path,
        flags.note === undefined ? {} : { note: flags.note },
      );
      if (!writeStructured(context, found))
        context.out(`alert ${found.id}: seen to by ${safe(found.acked?.by ?? '')}\n`);
    },
  );
}

function deliveriesCommand(alert: Command): void {
  const command = alert
    .command('deliveries')
    .description('who was told of which alert, and what came of it')
    .argument('[ID]', 'only of this alert')
    .option('--state <state>', 'due, delivered or given_up')
    .option('--receiver <name>', 'only to this receiver')
    .option('--limit <n>', 'at most this many', wholeNumber('--limit', 1, 1000), 50);
  examples(command, [
    ['alert deliveries --state due', 'who could not be told yet, and why'],
    ['alert deliveries 17', 'each attempt at one alert'],
  ]).action(async (id: string | undefined, _flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<
      GlobalFlags & { state?: string; receiver?: string; limit: number }
    >();
    const context = createContext(flags);
    const { state, receiver, limit } = flags;
    const page = await context.client.get<Page<Delivery>>('/v1/alert-deliveries', {
      alert: id,
      state,
      receiver,
      limit,
    });
    const { view } = context;
    writeTable(context, page.items, [
      { head: 'ALERT', value: (row) => row.alert },
      { head: 'RULE', value: (row) => row.rule, optional: true },
      { head: 'TOLD OF', value: (row) => (row.notice === 'ended' ? 'its end' : 'it'), optional: true },
      { head: 'RECEIVER', value: (row) => row.receiver },
      { head: 'STATE', value: (row) => row.state.replaceAll('_', ' ') },
      { head: 'ATTEMPTS', value: (row) => String(row.attempts) },
      { head: 'LAST', value: (row) => (row.tries[0] ? clock(row.tries[0].at, view.utc) : '') },
      { head: 'NEXT', value: (row) => (row.dueAt ? clock(row.dueAt, view.utc) : '') },
      {
        head: 'ANSWER',
        value: (row) => row.tries[0]?.error ?? String(row.tries[0]?.status ?? ''),
        flexible: true,
      },
    ]);
    if (page.next !== null) context.err('(there is more: raise --limit, or narrow the question)\n');
  });
}
