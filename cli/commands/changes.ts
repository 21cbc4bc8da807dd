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
import { examples } from '../examples.js';
import { CliError, EXIT } from '../exit.js';
import { nearest } from '../nearest.js';
import { joinRef, parseRef } from '../object-ref.js';
import { type Change, renderChanges } from '../render/changes.js';
import { changesCsv } from '../render/csv.js';
import { safe } from '../render/text.js';
import { whyNothing } from '../why-nothing.js';

export interface FilterFlags extends GlobalFlags {
  namespace?: string;
  allNamespaces?: boolean;
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
  verdict?: string[];
  commit?: string[];
  pr?: string[];
  since?: string;
  until?: string;
  all?: boolean;
}

/** kubectl's habit: every namespace is asked for where none is given, and -A takes back a -n of an alias. */
export function allNamespaces(): Option {
  return new Option('-A, --all-namespaces', 'every namespace, whatever -n says').hideHelp();
}

/** The filters that every list of changes takes. */
export function addFilters(command: Command, defaultSince: string | undefined): Command {
  return command
    .option('-n, --namespace <namespace>', 'only this namespace')
    .addOption(allNamespaces())
    .option('--cluster <cluster>', 'only this cluster')
    .option('--resource <type>', 'deploy, Deployment, deployments.apps (may be repeated)', collect)
    .option('--name <name>', 'object name, exact or a prefix and * (may be repeated)', collect)
    .option('-l, --label <key=value>', 'label of the object (a=b,c=d, or repeated: all must hold)', collect)
    .option('--actor <user>', 'user or impersonated user, * for anything (may be repeated)', collect)
    .option('--tool <tool>', 'kubectl, helm, argocd-application-controller, ...', collect)
    .option('--verb <verb>', 'create, update, patch, delete, ...', collect)
    .option('--kind <kind>', 'scale, rbac_grant, exec, ... (what was done)', collect)
    .option('--class <class>', 'derived, rejected, secret_read, ...', collect)
    .option('--field <path>', 'a field and all below it; [*] for any list item', collect)
    .option('--verdict <verdict>', 'approved, unapproved, out-of-band, unknown, ...', collect)
    .option('--commit <sha>', 'what brought this commit (7 digits or more)', collect)
    .option('--pr <number>', 'what brought this pull request: 7, or repo#7', collect)
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
    namespace: flags.allNamespaces ? undefined : flags.namespace,
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
    verdict: flags.verdict,
    commit: flags.commit,
    pr: flags.pr,
    since: flags.since ?? (flags.until === undefined ? defaultSince : undefined),
    until: flags.until,
    all: flags.all,
  };
}

const DEFAULT_SINCE = '24h';

export function changesCommand(program: Command): void {
  const command = addFilters(
    program
      .command('changes', { isDefault: true })
      .description('who changed what, newest first (the default command)')
      .argument('[TYPE[/NAME]]', 'such as deploy/web')
      .argument('[NAME]', 'where it was not given with the type'),
    DEFAULT_SINCE,
  )
    .option('--limit <n>', 'at most this many', wholeNumber('--limit', 1, 1000), 50)
    .option('--exit-code', 'exit with 1 when nothing matches')
    .option('-v, --verbose', 'also say when it is not known whether anything is missing');
  examples(command, [
    ['--since 30m -n prod', 'what changed in prod in the last 30 minutes'],
    ['deploy/web -n prod --since 2h', 'who changed this Deployment'],
    ["--field 'spec.template.spec.containers[*].image' --since 7d", 'new images'],
    ['--kind rbac_grant --kind exec', 'risky things of a day'],
    ['--verdict out-of-band -n prod --since 7d', 'what went past git'],
    ['--pr shop#7 --since 30d', 'where a pull request went'],
    ["--actor 'system:serviceaccount:ci:*' -o csv", 'what the pipeline did, for a spreadsheet'],
  ]).action(async (type: string | undefined, name: string | undefined, _flags: unknown, called: Command) => {
    const ref = type === undefined ? undefined : refOf(program, type, name);
    const flags = called.optsWithGlobals<
      FilterFlags & { limit: number; exitCode?: boolean; verbose?: boolean }
    >();
    const context = createContext(flags);
    const query = filterQuery(flags, ref, DEFAULT_SINCE);
    const page = await context.client.get<Page>('/v1/changes', { ...query, limit: flags.limit });
    const drawn = context.output === 'table' || context.output === 'wide';
    if (page.items.length > 0 || !drawn) writePage(context, page);
    const missing = completenessText(page.completeness, query, flags.verbose ?? false);
    if (missing !== undefined) context.err(`${missing}\n`);
    if (page.items.length > 0) return;
    const commands = program.commands.map((command) => command.name());
    const nothing = await whyNothing(context.client, { ref, query, commands }, context.view.now);
    if (flags.exitCode || ref?.includes('/')) throw new CliError(EXIT.nothing, nothing.message, nothing.hint);
    // A mistyped command is taken for a type.
    context.err(`${safe(nothing.message)}\n${safe(nothing.hint)}\n`);
  });
}

/** Verbs of kubectl's that people put before a type. */
const KUBECTL_VERBS = new Set(['get', 'describe', 'list', 'edit']);

/** The object that two words name, or one; what was meant as a command is told from it. */
function refOf(program: Command, type: string, name: string | undefined): string {
  if (name !== undefined && KUBECTL_VERBS.has(type))
    throw new CliError(EXIT.usage, `there is no command ${type}`, `leave it out: ${program.name()} ${name}`);
  if (name?.includes('/') && !type.includes('/')) {
    const [command] = nearest(
      type,
      program.commands.map((item) => item.name()),
    );
    throw new CliError(
      EXIT.usage,
      `there is no command ${type}`,
      command === undefined ? 'see --help' : `did you mean ${command} ${name}?`,
    );
  }
  return joinRef(type, name);
}

export interface Page {
  items: Change[];
  next: string | null;
  completeness?: { verdict: string; gaps: number; completeUntil?: string };
}

/** What a reader must know of what the list may lack; that it isn't known is said only when asked. */
function completenessText(
  completeness: Page['completeness'],
  query: Query,
  verbose: boolean,
): string | undefined {
  if (completeness === undefined) return undefined;
  const { verdict, gaps, completeUntil } = completeness;
  if (verdict === 'incomplete') {
    const range = (['cluster', 'since', 'until'] as const)
      .filter((name) => query[name] !== undefined)
      .map((name) => ` --${name} ${safe(String(query[name]))}`);
    return `not complete: ${gaps} ${gaps === 1 ? 'gap' : 'gaps'} (whochanged gaps${range.join('')})`;
  }
  if (!verbose) return undefined;
  if (verdict === 'complete') return 'complete: everything that was told is here';
  return `completeness unknown${completeUntil === undefined ? '' : `; proven up to ${completeUntil}`} (whochanged completeness)`;
}

/** A list of changes in whatever form was asked for. */
export function writePage(context: Context, page: Page): void {
  const { items } = page;
  if (!writeStructured(context, page, items, (rows) => changesCsv(rows as Change[]))) {
    if (items.length === 0) context.err('nothing matches\n');
    else context.out(renderChanges(items, context.view));
  }
  if (page.next !== null) context.err('(there is more: raise --limit, or narrow the question)\n');
}

/** Streams an export to stdout, no faster than it is taken. */
export async function exportTo(context: Context, path: string, query: Query): Promise<void> {
  for await (const chunk of context.client.stream(path, query)) {
    if (!process.stdout.write(chunk)) await new Promise((resolve) => process.stdout.once('drain', resolve));
  }
}
