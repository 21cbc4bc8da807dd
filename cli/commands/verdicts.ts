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
import { CliError, EXIT } from '../exit.js';
import type { Source } from '../render/changes.js';
import { renderTable } from '../render/table.js';
import { clock } from '../render/text.js';
import { paintVerdict, shortSources, type Verdict, verdictCell } from '../render/verdicts.js';
import { exportTo } from './changes.js';
import { writeTable } from './lists.js';

interface VerdictFlags extends GlobalFlags {
  cluster?: string[];
  namespace?: string[];
  environment?: string[];
  verdict?: string[];
  reason?: string[];
  since?: string;
  until?: string;
  limit: number;
  export?: boolean;
  exitCode?: boolean;
}

interface ListedVerdict extends Verdict {
  change: {
    id: string;
    at: string;
    cluster: string;
    actor: string;
    impersonatedUser?: string;
    summary: string;
    object: { text: string };
  };
  sources: Source[];
}

interface Page<T> {
  items: T[];
  next: string | null;
}

/** What is said of changes, and what people asked Argo CD for. */
export function verdictCommands(program: Command): void {
  listCommand(program);
  actionsCommand(program);
}

function listCommand(program: Command): void {
  const command = program
    .command('verdicts')
    .description('what is said of changes: approved, unapproved, out-of-band, ...')
    .option('--cluster <cluster>', 'only this cluster (may be repeated)', collect)
    .option('-n, --namespace <namespace>', 'only this namespace (may be repeated)', collect)
    .option('--environment <name>', 'as the policy names it (may be repeated)', collect)
    .option('--verdict <verdict>', 'only this one (may be repeated)', collect)
    .option('--reason <reason>', 'stale, no_pr, bypass, no_link, ... (may be repeated)', collect)
    .option('--since <time>', 'of the change: RFC 3339, or 2h, 7d ago', timeOption('--since'))
    .option('--until <time>', 'up to but not including', timeOption('--until'))
    .option('--limit <n>', 'at most this many', wholeNumber('--limit', 1, 1000), 50)
    .option('--export', 'all of them, streamed: with -o csv or -o ndjson')
    .option('--exit-code', 'exit with 1 when there is none');
  examples(command, [
    ['verdicts --verdict unapproved --verdict out-of-band --since 7d', 'what an auditor asks about'],
    ['verdicts --environment production --reason stale', 'pushed after it was approved'],
    ['verdicts --since 90d --export -o csv', 'all of a quarter, for a spreadsheet'],
  ]).action(async (_flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<VerdictFlags>();
    const context = createContext(flags);
    const { cluster, namespace, environment, verdict, reason, since, until, limit } = flags;
    const query = { cluster, namespace, environment, verdict, reason, since, until };
    if (flags.export) {
      if (context.output !== 'csv' && context.output !== 'ndjson')
        throw new CliError(EXIT.usage, '--export: takes -o csv or -o ndjson');
      return exportTo(context, `/v1/verdicts.${context.output}`, query);
    }
    const page = await context.client.get<Page<ListedVerdict>>('/v1/verdicts', { ...query, limit });
    const { items } = page;
    if (!writeStructured(context, page, items)) {
      if (items.length === 0) context.err('nothing matches\n');
      else context.out(verdictTable(items, context.view));
    }
    if (page.next !== null) context.err('(there is more: raise --limit, or --export)\n');
    if (flags.exitCode && items.length === 0) process.exitCode = EXIT.nothing;
  });
}

function verdictTable(items: ListedVerdict[], view: ReturnType<typeof createContext>['view']): string {
  const { colors } = view;
  return renderTable<ListedVerdict>(
    [
      {
        head: 'WHEN',
        value: ({ change }) => clock(change.at, view.utc),
        short: ({ change }) => clock(change.at, view.utc).slice(5),
        paint: (text) => colors.dim(text),
      },
      ...(view.wide ? [{ head: 'CLUSTER', value: ({ change }: ListedVerdict) => change.cluster }] : []),
      { head: 'ENVIRONMENT', value: ({ environment }) => environment, optional: true },
      {
        head: 'ACTOR',
        value: ({ change }) =>
          change.impersonatedUser ? `${change.actor} as ${change.impersonatedUser}` : change.actor,
        short: ({ change }) => change.actor.replaceAll(/\bsystem:serviceaccount(?=:)/g, '…'),
        most: 36,
        paint: (text) => colors.cyan(text),
      },
      { head: 'OBJECT', value: ({ change }) => change.object.text, most: 40 },
      { head: 'COMMIT', value: ({ sources }) => shortSources(sources), optional: true },
      {
        head: 'VERDICT',
        value: (row) => verdictCell(row),
        paint: (text, row) => paintVerdict(text, row, colors),
        most: 34,
      },
      { head: 'WHY', value: ({ detail }) => detail, flexible: true },
      ...(view.wide ? [{ head: 'ID', value: ({ change }: ListedVerdict) => change.id }] : []),
    ],
    items,
    { width: view.wide ? Number.POSITIVE_INFINITY : view.width, colors },
  );
}

interface Action {
  changeID: string;
  at: string;
  cluster: string;
  action: string;
  application: { kind: string; namespace: string; name: string };
  actor: string;
  initiator?: string;
  initiatorEvidence?: string;
  revision?: string;
  detail?: string;
}

function actionsCommand(program: Command): void {
  const command = program
    .command('actions')
    .description('what people asked Argo CD and Flux for: syncs, rollbacks, auto-sync off, overrides')
    .argument('[APPLICATION]', 'the name of the Application, Kustomization or HelmRelease')
    .option('--cluster <cluster>', 'only this cluster (may be repeated)', collect)
    .option('-n, --namespace <namespace>', 'of the Application (may be repeated)', collect)
    .option('--action <action>', 'sync, rollback, auto_sync_disabled, override_set, ...', collect)
    .option('--actor <user>', 'of Argo CD or of the cluster, exact (may be repeated)', collect)
    .option('--since <time>', 'RFC 3339, or 30m, 2h, 7d ago', timeOption('--since'))
    .option('--until <time>', 'up to but not including', timeOption('--until'))
    .option('--limit <n>', 'at most this many', wholeNumber('--limit', 1, 1000), 50);
  examples(command, [
    ['actions --action auto_sync_disabled --since 30d', 'who switched auto-sync off'],
    ['actions web --action rollback --action sync', 'who rolled back, who triggered a sync'],
  ]).action(async (name: string | undefined, _flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<VerdictFlags & { action?: string[]; actor?: string[] }>();
    const context = createContext(flags);
    const { cluster, namespace, action, actor, since, until, limit } = flags;
    const query = { name, cluster, namespace, action, actor, since, until, limit };
    const page = await context.client.get<Page<Action>>('/v1/application-actions', query);
    const { view } = context;
    writeTable(context, page.items, [
      { head: 'WHEN', value: (row) => clock(row.at, view.utc), paint: (text) => view.colors.dim(text) },
      { head: 'CLUSTER', value: (row) => row.cluster, optional: true },
      {
        head: 'APPLICATION',
        value: ({ application: { kind, namespace, name } }) =>
          `${kind === 'Application' ? '' : `${kind} `}${namespace}/${name}`,
      },
      { head: 'ACTION', value: (row) => row.action.replaceAll('_', ' ') },
      {
        head: 'WHO',
        // Through Argo CD's own API its server writes: only the operation, or an Event beside it, names the user.
        value: (row) =>
          row.initiator ??
          (row.actor.startsWith('system:serviceaccount:')
            ? `${row.actor} (who asked it is not told)`
            : row.actor),
        paint: (text) => view.colors.cyan(text),
      },
      { head: 'TOLD BY', value: (row) => row.initiatorEvidence ?? 'the audit event', optional: true },
      { head: 'WHAT', value: (row) => row.detail ?? row.revision ?? '', flexible: true },
    ]);
    if (page.next !== null) context.err('(there is more: raise --limit, or narrow the question)\n');
  });
}
