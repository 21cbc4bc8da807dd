import { type Command, Option } from 'commander';
import type { Query } from '../client.js';
import {
  type Context,
  collect,
  createContext,
  type GlobalFlags,
  timeOption,
  wholeNumber,
  writeStructured,
} from '../context.js';
import { CliError, EXIT } from '../exit.js';
import { parseRef } from '../object-ref.js';
import { type Change, renderChanges } from '../render/changes.js';

export interface FilterFlags extends GlobalFlags {
  namespace?: string;
  cluster?: string;
  resource?: string[];
  name?: string[];
  selector?: string[];
  actor?: string[];
  tool?: string[];
  verb?: string[];
  kind?: string[];
  class?: string[];
  field?: string[];
  since?: string;
  until?: string;
  all?: boolean;
}

/** The filters that every list of changes takes. */
export function addFilters(command: Command, defaultSince: string | undefined): Command {
  return command
    .option('-n, --namespace <namespace>', 'only this namespace')
    .addOption(new Option('-A, --all-namespaces', 'every namespace (the default)').hideHelp())
    .option('--cluster <cluster>', 'only this cluster')
    .option('--resource <type>', 'deploy, Deployment, deployments.apps (may be repeated)', collect)
    .option('--name <name>', 'object name, exact or a prefix and * (may be repeated)', collect)
    .option('-l, --label <key=value>', 'label of the object (may be repeated: all must hold)', collect)
    .option('--actor <user>', 'user or impersonated user, * for anything (may be repeated)', collect)
    .option('--tool <tool>', 'kubectl, helm, argocd-application-controller, ...', collect)
    .option('--verb <verb>', 'create, update, patch, delete, ...', collect)
    .option('--kind <kind>', 'scale, rbac_grant, exec, ... (what was done)', collect)
    .option('--class <class>', 'derived, rejected, secret_read, ...', collect)
    .option('--field <path>', 'a field and all below it; [*] for any list item', collect)
    .option(
      '--since <time>',
      `RFC 3339, or 30m, 2h, 7d ago${defaultSince ? ` (default ${defaultSince})` : ''}`,
      timeOption('--since'),
    )
    .option('--until <time>', 'up to but not including', timeOption('--until'))
    .option('--all', 'also what changed nothing or is bookkeeping');
}

export function filterQuery(
  flags: FilterFlags & { label?: string[] },
  ref: string | undefined,
  defaultSince: string | undefined,
): Query {
  const target =
    ref === undefined ? undefined : ref.includes('/') ? parseRef(ref) : { resource: ref, name: undefined };
  return {
    namespace: flags.namespace,
    cluster: flags.cluster,
    resource: target ? [target.resource, ...(flags.resource ?? [])] : flags.resource,
    name: target?.name ? [target.name, ...(flags.name ?? [])] : flags.name,
    label: flags.label,
    actor: flags.actor,
    tool: flags.tool,
    verb: flags.verb,
    kind: flags.kind,
    class: flags.class,
    field: flags.field,
    since: flags.since ?? (flags.until === undefined ? defaultSince : undefined),
    until: flags.until,
    all: flags.all,
  };
}

const DEFAULT_SINCE = '24h';

export function changesCommand(program: Command): void {
  addFilters(
    program
      .command('changes', { isDefault: true })
      .description('who changed what, newest first (the default command)')
      .argument('[TYPE[/NAME]]', 'such as deploy/web'),
    DEFAULT_SINCE,
  )
    .option('--limit <n>', 'at most this many', wholeNumber('--limit', 1, 1000), 50)
    .option('--exit-code', 'exit with 1 when nothing matches')
    .addHelpText(
      'after',
      `
Examples:
  whochanged --since 30m -n prod                       what changed in prod in the last 30 minutes
  whochanged deploy/web -n prod --since 2h             ... to one Deployment
  whochanged --field 'spec.template.spec.containers[*].image' --since 7d
  whochanged --kind rbac_grant --kind exec --since 24h risky things
  whochanged --actor 'system:serviceaccount:ci:*' -o csv`,
    )
    .action(async (ref: string | undefined, _flags: unknown, command: Command) => {
      const flags = command.optsWithGlobals<FilterFlags & { limit: number; exitCode?: boolean }>();
      const context = createContext(flags);
      const query = filterQuery(flags, ref, DEFAULT_SINCE);
      if (context.output === 'csv') return exportTo(context, '/v1/changes.csv', query);
      const page = await context.client.get<{ items: Change[]; next: string | null }>('/v1/changes', {
        ...query,
        limit: flags.limit,
      });
      if (!writeStructured(context, page, page.items)) writeChanges(context, page.items, page.next !== null);
      if (page.items.length === 0 && (flags.exitCode || ref?.includes('/')))
        throw new CliError(
          EXIT.nothing,
          'nothing matches',
          `look further back with --since (it was ${query.since ?? 'everything'}), or at bookkeeping with --all`,
        );
    });
}

export function writeChanges(context: Context, items: Change[], more: boolean): void {
  if (items.length === 0) context.err('nothing matches\n');
  else context.out(renderChanges(items, context.view));
  if (more) context.err(`(there is more: raise --limit, or narrow the question)\n`);
}

/** Streams an export to stdout, as fast as it is taken. */
export async function exportTo(context: Context, path: string, query: Query): Promise<void> {
  const response = await context.client.stream(path, query);
  for await (const chunk of response) {
    if (!process.stdout.write(chunk as Buffer))
      await new Promise((resolve) => process.stdout.once('drain', resolve));
  }
}
