import { type Command, Option } from 'commander';
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
import { joinRef } from '../object-ref.js';
import { renderChanges } from '../render/changes.js';
import { type Column, renderTable } from '../render/table.js';
import { clock, safe } from '../render/text.js';
import { whatIsUnknown } from '../why-nothing.js';
import {
  addFilters,
  allNamespaces,
  exportTo,
  type FilterFlags,
  filterQuery,
  type Page,
  writePage,
} from './changes.js';

interface ListFlags extends GlobalFlags {
  namespace?: string;
  allNamespaces?: boolean;
  cluster?: string;
  actor?: string;
  since?: string;
  until?: string;
  all?: boolean;
  limit: number;
}

/** A list in whatever form was asked for. */
export function writeTable<T extends object>(context: Context, items: T[], columns: Column<T>[]): void {
  if (writeStructured(context, { items }, items)) return;
  if (items.length === 0) context.err('nothing there\n');
  else
    context.out(
      renderTable(columns, items, {
        width: context.view.wide ? Number.POSITIVE_INFINITY : context.view.width,
        colors: context.view.colors,
      }),
    );
}

function windowed(command: Command): Command {
  return command
    .option('--since <time>', 'RFC 3339, or 30m, 2h, 7d ago', timeOption('--since'))
    .option('--until <time>', 'up to but not including', timeOption('--until'))
    .option('--limit <n>', 'at most this many', wholeNumber('--limit', 1, 1000), 50);
}

export function listCommands(program: Command): void {
  accessCommand(
    program,
    '/v1/access',
    'access',
    'interactive access: exec, attach, port-forward, proxy, debug',
    {
      all: 'also what was refused',
      lines: [
        ['access -n prod --since 7d', 'who was in the pods of prod'],
        ['access --all --actor alice@example.com', 'also where she was refused'],
      ],
    },
  );
  accessCommand(program, '/v1/secret-reads', 'secret-reads', 'who read Secrets', {
    all: 'also built-in controllers',
    lines: [['secret-reads -n prod --since 24h', 'who read the Secrets of prod']],
  });
  actorCommand(program);
  eventsCommand(program);
  eventCommand(program);
  findingsCommand(program);
  exportCommand(program);
}

function accessCommand(
  program: Command,
  path: string,
  name: string,
  description: string,
  help: { all: string; lines: Array<[string, string]> },
): void {
  const command = windowed(program.command(name).description(description))
    .option('-n, --namespace <namespace>', 'only this namespace')
    .addOption(allNamespaces())
    .option('--cluster <cluster>', 'only this cluster')
    .option('--actor <user>', 'exact, or * for anything')
    .option('--all', help.all);
  examples(command, help.lines).action(async (_flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<ListFlags>();
    const context = createContext(flags);
    const { cluster, actor, since, until, all, limit } = flags;
    const namespace = flags.allNamespaces ? undefined : flags.namespace;
    const query = { namespace, cluster, actor, since, until, all, limit };
    const page = await context.client.get<Page>(path, query);
    const drawn = context.output === 'table' || context.output === 'wide';
    const unknown =
      drawn && page.items.length === 0
        ? await whatIsUnknown(context.client, { ref: undefined, query })
        : undefined;
    if (unknown) context.err(`${safe(unknown.message)}\n${safe(unknown.hint)}\n`);
    else writePage(context, page);
  });
}

interface Activity extends Page {
  username: string;
  kinds: Record<string, number>;
  namespaces: Record<string, number>;
  tools: Record<string, number>;
}

function actorCommand(program: Command): void {
  const command = windowed(
    program
      .command('actor')
      .description('what somebody did')
      .argument('<USER>', 'as the apiserver knows them'),
  );
  examples(command, [
    ['actor alice@example.com --since 7d', 'her week'],
    ['actor system:serviceaccount:ci:deployer', 'what the pipeline does'],
  ]).action(async (user: string, _flags: unknown, called: Command) => {
    const { since, until, limit, ...flags } = called.optsWithGlobals<ListFlags>();
    const context = createContext(flags);
    const path = `/v1/actors/${encodeURIComponent(user)}/activity`;
    const activity = await context.client.get<Activity>(path, { since, until, limit });
    if (context.output !== 'table' && context.output !== 'wide') return writePage(context, activity);
    const counts = (map: Record<string, number>) =>
      Object.entries(map)
        .sort((a, b) => b[1] - a[1])
        .map(([key, count]) => `${safe(key) || '(cluster)'} ${count}`)
        .join(', ');
    context.out(
      `${context.view.colors.bold(safe(activity.username))}\n  kinds:      ${counts(activity.kinds)}\n  namespaces: ${counts(activity.namespaces)}\n  tools:      ${counts(activity.tools)}\n\n${renderChanges(activity.items, context.view)}`,
    );
  });
}

interface EventItem {
  eventID: string;
  at: string;
  stage: string;
  class: string;
  verb: string;
  code?: number;
  auditID: string;
  requestURI: string;
  actor: { username: string };
  object?: { text: string };
}

function eventsCommand(program: Command): void {
  const command = windowed(program.command('events').description('audit events, newest first'))
    .option('--cluster <cluster>', 'only this cluster')
    .option('--audit-id <id>', 'of one request')
    .option('--class <class>', 'change, read, rejected, ...')
    .option('--stage <stage>', 'RequestReceived, ResponseStarted, ResponseComplete or Panic');
  examples(command, [
    ['events --since 5m', 'what the apiservers sent'],
    ['events --audit-id f3e74a97-5be4-48ad-a709-229f99eb4153', 'every stage of one request'],
  ]).action(async (_flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<ListFlags & { auditId?: string; class?: string; stage?: string }>();
    const context = createContext(flags);
    const { cluster, since, until, limit, stage } = flags;
    const query = { cluster, since, until, limit, stage, auditID: flags.auditId, class: flags.class };
    const page = await context.client.get<{ items: EventItem[] }>('/v1/events', query);
    writeTable(context, page.items, [
      { head: 'WHEN', value: (row) => clock(row.at, context.view.utc) },
      { head: 'STAGE', value: (row) => row.stage, optional: true },
      { head: 'CLASS', value: (row) => row.class },
      { head: 'USER', value: (row) => row.actor.username, most: 30 },
      { head: 'VERB', value: (row) => row.verb },
      { head: 'CODE', value: (row) => String(row.code ?? '') },
      context.view.wide
        ? { head: 'EVENT', value: (row) => row.eventID }
        : { head: 'AUDIT-ID', value: (row) => row.auditID, optional: true },
      { head: 'OBJECT', value: (row) => row.object?.text ?? row.requestURI, flexible: true },
    ]);
  });
}

function eventCommand(program: Command): void {
  const command = program
    .command('event')
    .description('one event with its redacted original')
    .argument('<EVENT_ID>', 'as `events -o wide` shows it');
  examples(command, [
    ['event 1795527478163456-3f0c9e...-1 -o yaml', 'what the apiserver sent, without secrets'],
  ]).action(async (id: string, _flags: unknown, called: Command) => {
    const context = createContext(called.optsWithGlobals<GlobalFlags>(), 'one');
    const event = await context.client.get<unknown>(`/v1/events/${encodeURIComponent(id)}`);
    if (!writeStructured(context, event)) context.out(`${JSON.stringify(event, null, 2)}\n`);
  });
}

function findingsCommand(program: Command): void {
  const command = program.command('findings').description('what looks wrong in the evidence itself');
  examples(command, [['findings', 'reused auditIDs and the like']]).action(
    async (_flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>());
      const page = await context.client.get<{
        items: Array<{
          id: string;
          at: string;
          cluster: string | null;
          repo: string | null;
          kind: string;
          subject: string;
        }>;
      }>('/v1/findings');
      writeTable(context, page.items, [
        { head: 'WHEN', value: (row) => clock(row.at, context.view.utc) },
        { head: 'IN', value: (row) => row.cluster ?? row.repo ?? '' },
        { head: 'FINDING', value: (row) => row.kind },
        { head: 'SUBJECT', value: (row) => row.subject, flexible: true },
      ]);
    },
  );
}

function exportCommand(program: Command): void {
  const command = addFilters(
    program
      .command('export')
      .description('all changes that match, streamed to stdout')
      .argument('[TYPE[/NAME]]', 'such as deploy/web')
      .argument('[NAME]', 'where it was not given with the type'),
    undefined,
  ).addOption(new Option('--format <format>').choices(['ndjson', 'csv']).default('ndjson'));
  examples(command, [
    ['export --since 30d --format csv > changes.csv', 'a month, for a spreadsheet'],
    ["export -n prod | jq -r '.actor.username' | sort | uniq -c", 'who changes prod how often'],
  ]).action(async (type: string | undefined, name: string | undefined, _flags: unknown, called: Command) => {
    const ref = type === undefined ? undefined : joinRef(type, name);
    const flags = called.optsWithGlobals<FilterFlags & { format: string }>();
    const context = createContext(flags);
    const { output } = context;
    if (output !== 'table' && output !== 'csv' && output !== 'ndjson')
      throw new CliError(
        EXIT.usage,
        `-o ${output}: an export is a stream of rows`,
        'use -o ndjson or -o csv',
      );
    const format = output === 'table' ? flags.format : output;
    await exportTo(context, `/v1/changes.${format}`, filterQuery(flags, ref, undefined));
  });
}
