import type { Command } from 'commander';
import { createContext, type GlobalFlags, timeOption, wholeNumber, writeStructured } from '../context.js';
import { examples } from '../examples.js';
import { clock } from '../render/text.js';
import { writeTable } from './lists.js';

interface HoldItem {
  id: number;
  cluster: string | null;
  namespace: string | null;
  group: string | null;
  resource: string | null;
  name: string | null;
  actor: string | null;
  since: string | null;
  until: string | null;
  reason: string;
  createdAt: string;
  createdBy: string;
  releasedAt: string | null;
  releasedBy: string | null;
  releaseReason: string | null;
}

interface AddFlags {
  cluster?: string;
  namespace?: string;
  resource?: string;
  name?: string;
  actor?: string;
  since?: string;
  until?: string;
  everything?: boolean;
  reason: string;
}

/** What a hold is about, in one line. */
function scopeText(hold: HoldItem, utc: boolean): string {
  const kind = hold.resource && (hold.group ? `${hold.resource}.${hold.group}` : hold.resource);
  const parts = [
    hold.cluster && `cluster ${hold.cluster}`,
    hold.namespace && `namespace ${hold.namespace}`,
    kind,
    hold.name && `name ${hold.name}`,
    hold.actor && `actor ${hold.actor}`,
    hold.since && `since ${clock(hold.since, utc)}`,
    hold.until && `until ${clock(hold.until, utc)}`,
  ].filter(Boolean);
  return parts.length === 0 ? 'everything' : parts.join(', ');
}

export function holdCommands(program: Command): void {
  const hold = program.command('hold').description('legal holds: what must stay, whatever retention says');
  examples(hold, [
    ['hold add -n payments --since 2026-03-01 --reason case-4711', 'all of a namespace since then'],
    ['hold list', 'what is held, by whom and why'],
    ['hold release 3 --reason closed', 'it follows the policy again'],
  ]);

  const add = hold
    .command('add')
    .description('hold what is named: it is neither dropped nor erased until the hold is released')
    .option('--cluster <cluster>', 'of this cluster')
    .option('-n, --namespace <namespace>', 'of this namespace')
    .option('--resource <resource>', 'plural, kind or short name')
    .option('--name <name>', 'of objects of this name')
    .option('--actor <username>', 'what this user did, under their own name or impersonated')
    .option('--since <time>', 'RFC 3339, or 7d ago', timeOption('--since'))
    .option('--until <time>', 'not included', timeOption('--until'))
    .option('--everything', 'where nothing else is named')
    .requiredOption('--reason <text>', 'why, for whoever asks later');
  examples(add, [
    ['hold add --cluster prod -n payments --reason case-4711', 'a namespace'],
    ['hold add --resource deploy -n shop --name web --reason audit-2026', 'one object'],
    ['hold add --actor mallory@example.com --since 90d --reason investigation', 'what somebody did'],
  ]).action(async (_flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<GlobalFlags & AddFlags>();
    const context = createContext(flags, 'one');
    const { cluster, namespace, resource, name, actor, since, until, everything, reason } = flags;
    const body = { cluster, namespace, resource, name, actor, since, until, everything, reason };
    const made = await context.client.post<HoldItem>('/v1/holds', body);
    if (!writeStructured(context, made))
      context.out(`hold ${made.id}: ${scopeText(made, context.view.utc)}\n`);
  });

  const list = hold
    .command('list')
    .description('what is held, by whom and why')
    .option('--all', 'holds that were released too');
  examples(list, [
    ['hold list', 'what is held now'],
    ['hold list --all -o csv', 'for an auditor'],
  ]).action(async (_flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<GlobalFlags & { all?: boolean }>();
    const context = createContext(flags);
    const { utc } = context.view;
    const { items } = await context.client.get<{ items: HoldItem[] }>('/v1/holds', {
      ...(flags.all && { released: true }),
    });
    writeTable(context, items, [
      { head: 'ID', value: (row) => String(row.id) },
      { head: 'HELD', value: (row) => scopeText(row, utc), flexible: true },
      { head: 'REASON', value: (row) => row.reason, flexible: true },
      { head: 'BY', value: (row) => row.createdBy, most: 30 },
      { head: 'SINCE', value: (row) => clock(row.createdAt, utc) },
      {
        head: 'RELEASED',
        value: (row) =>
          row.releasedAt ? `${clock(row.releasedAt, utc)} by ${row.releasedBy}: ${row.releaseReason}` : '-',
      },
    ]);
  });

  const release = hold
    .command('release')
    .description('end a hold: what it covered follows the policy again')
    .argument('<ID>', 'as `hold list` shows it', wholeNumber('ID', 1, 2_147_483_647))
    .requiredOption('--reason <text>', 'why, for whoever asks later');
  examples(release, [['hold release 3 --reason closed', 'it stays on record']]).action(
    async (id: number, _flags: unknown, called: Command) => {
      const flags = called.optsWithGlobals<GlobalFlags & { reason: string }>();
      const context = createContext(flags, 'one');
      const released = await context.client.post<HoldItem>(`/v1/holds/${id}/release`, {
        reason: flags.reason,
      });
      if (!writeStructured(context, released)) context.out(`hold ${id} is released\n`);
    },
  );
}
