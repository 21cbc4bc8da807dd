import type { Command } from 'commander';
import {
  type Context,
  createContext,
  type GlobalFlags,
  timeOption,
  wholeNumber,
  writeStructured,
} from '../context.js';
import { type Change, renderChanges } from '../render/changes.js';
import { type Column, renderTable } from '../render/table.js';
import { age, clock } from '../render/text.js';
import { addFilters, exportTo, type FilterFlags, filterQuery, writeChanges } from './changes.js';

interface ListFlags extends GlobalFlags {
  namespace?: string;
  cluster?: string;
  actor?: string;
  since?: string;
  until?: string;
  all?: boolean;
  limit: number;
}

/** A list in whatever form was asked for. */
export function writeTable<T extends object>(context: Context, items: T[], columns: Column<T>[]): void {
  if (writeStructured(context, { items }, items as Array<{ id?: string; name?: string }>)) return;
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
    .option('-n, --namespace <namespace>')
    .option('--cluster <cluster>')
    .option('--actor <user>', 'exact, or * for anything')
    .option('--since <time>', 'RFC 3339, or 30m, 2h, 7d ago', timeOption('--since'))
    .option('--until <time>', 'up to but not including', timeOption('--until'))
    .option('--limit <n>', 'at most this many', wholeNumber('--limit', 1, 1000), 50);
}

function queryOf(flags: ListFlags) {
  const { namespace, cluster, actor, since, until, all, limit } = flags;
  return { namespace, cluster, actor, since, until, all, limit };
}

export function listCommands(program: Command): void {
  for (const [name, path, description, all] of [
    [
      'access',
      '/v1/access',
      'interactive access: exec, attach, port-forward, proxy, debug',
      'also what was refused',
    ],
    ['secret-reads', '/v1/secret-reads', 'who read Secrets', 'also built-in controllers'],
  ] as const) {
    windowed(program.command(name).description(description))
      .option('--all', all)
      .action(async (_flags: unknown, command: Command) => {
        const flags = command.optsWithGlobals<ListFlags>();
        const context = createContext(flags);
        const page = await context.client.get<{ items: Change[]; next: string | null }>(path, queryOf(flags));
        if (!writeStructured(context, page, page.items))
          writeChanges(context, page.items, page.next !== null);
      });
  }

  program
    .command('actor')
    .description('what somebody did')
    .argument('<USER>', 'as the apiserver knows them')
    .option('--since <time>', 'RFC 3339, or 30m, 2h, 7d ago', timeOption('--since'))
    .option('--until <time>', 'up to but not including', timeOption('--until'))
    .option('--limit <n>', 'at most this many', wholeNumber('--limit', 1, 1000), 20)
    .action(async (user: string, _flags: unknown, command: Command) => {
      const flags = command.optsWithGlobals<ListFlags>();
      const context = createContext(flags);
      const activity = await context.client.get<{
        username: string;
        firstAt: string | null;
        lastAt: string | null;
        kinds: Record<string, number>;
        namespaces: Record<string, number>;
        tools: Record<string, number>;
        items: Change[];
        next: string | null;
      }>(`/v1/actors/${encodeURIComponent(user)}/activity`, {
        since: flags.since,
        until: flags.until,
        limit: flags.limit,
      });
      if (writeStructured(context, activity, activity.items)) return;
      const counts = (map: Record<string, number>) =>
        Object.entries(map)
          .sort((a, b) => b[1] - a[1])
          .map(([key, count]) => `${key || '(cluster)'} ${count}`)
          .join(', ');
      context.out(
        `${context.view.colors.bold(activity.username)}\n  kinds:      ${counts(activity.kinds)}\n  namespaces: ${counts(activity.namespaces)}\n  tools:      ${counts(activity.tools)}\n\n${renderChanges(activity.items, context.view)}`,
      );
    });

  windowed(program.command('events').description('audit events, newest first'))
    .option('--audit-id <id>', 'of one request')
    .option('--class <class>')
    .option('--stage <stage>')
    .action(async (_flags: unknown, command: Command) => {
      const flags = command.optsWithGlobals<
        ListFlags & { auditId?: string; class?: string; stage?: string }
      >();
      const context = createContext(flags);
      const { cluster, since, until, limit } = flags;
      const page = await context.client.get<{ items: EventItem[] }>('/v1/events', {
        cluster,
        since,
        until,
        limit,
        auditID: flags.auditId,
        class: flags.class,
        stage: flags.stage,
      });
      writeTable(context, page.items, [
        { head: 'WHEN', value: (row) => clock(row.at, context.view.utc) },
        { head: 'STAGE', value: (row) => row.stage },
        { head: 'CLASS', value: (row) => row.class },
        { head: 'USER', value: (row) => row.actor.username },
        { head: 'VERB', value: (row) => row.verb },
        { head: 'CODE', value: (row) => String(row.code ?? '') },
        { head: 'OBJECT', value: (row) => row.object?.text ?? row.requestURI, flexible: true },
        { head: 'EVENT', value: (row) => (context.view.wide ? row.eventID : row.auditID) },
      ]);
    });

  program
    .command('event')
    .description('one event with its redacted original')
    .argument('<EVENT_ID>')
    .action(async (id: string, _flags: unknown, command: Command) => {
      const context = createContext({ ...command.optsWithGlobals<GlobalFlags>() });
      const event = await context.client.get<unknown>(`/v1/events/${encodeURIComponent(id)}`);
      if (!writeStructured(context, event)) context.out(`${JSON.stringify(event, null, 2)}\n`);
    });

  program
    .command('findings')
    .description('what looks wrong in the evidence itself')
    .action(async (_flags: unknown, command: Command) => {
      const context = createContext(command.optsWithGlobals<GlobalFlags>());
      const page = await context.client.get<{
        items: Array<{ id: string; at: string; cluster: string; kind: string; subject: string }>;
      }>('/v1/findings');
      writeTable(context, page.items, [
        { head: 'WHEN', value: (row) => clock(row.at, context.view.utc) },
        { head: 'CLUSTER', value: (row) => row.cluster },
        { head: 'FINDING', value: (row) => row.kind },
        { head: 'SUBJECT', value: (row) => row.subject, flexible: true },
      ]);
    });

  program
    .command('status')
    .description('the server, its spool and its jobs')
    .action(async (_flags: unknown, command: Command) => {
      const context = createContext(command.optsWithGlobals<GlobalFlags>());
      const status = await context.client.get<{
        version: string;
        roles: string[];
        spool: { bytes: number } | null;
        jobs: Array<{ job: string; startedAt: string; rows: number; error: string | null }>;
      }>('/v1/status');
      if (writeStructured(context, status)) return;
      context.out(
        `whochanged ${status.version} at ${context.client.url}, roles ${status.roles.join(', ')}, spool ${status.spool?.bytes ?? '-'} bytes\n\n`,
      );
      writeTable(context, status.jobs, [
        { head: 'JOB', value: (row) => row.job },
        { head: 'LAST RUN', value: (row) => `${age(row.startedAt, context.view.now)} ago` },
        { head: 'ROWS', value: (row) => String(row.rows) },
        { head: 'ERROR', value: (row) => row.error ?? '', flexible: true },
      ]);
    });

  addFilters(
    program
      .command('export')
      .description('all changes that match, streamed to stdout')
      .argument('[TYPE[/NAME]]'),
    undefined,
  )
    .option('--format <format>', 'ndjson or csv', 'ndjson')
    .action(async (ref: string | undefined, _flags: unknown, command: Command) => {
      const flags = command.optsWithGlobals<FilterFlags & { format: string }>();
      const context = createContext(flags);
      await exportTo(
        context,
        flags.format === 'csv' || flags.output === 'csv' ? '/v1/changes.csv' : '/v1/changes.ndjson',
        filterQuery(flags, ref, undefined),
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
