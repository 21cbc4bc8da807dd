import type { Command } from 'commander';
import {
  type Context,
  collect,
  createContext,
  type GlobalFlags,
  wholeNumber,
  writeStructured,
} from '../context.js';
import { examples } from '../examples.js';
import { CliError, EXIT } from '../exit.js';
import { renderTable } from '../render/table.js';
import { clock, safe } from '../render/text.js';
import { writeTable } from './lists.js';

interface Sync {
  startedAt: string;
  phase: string;
  sources: Array<{ repository: string; revision: string; sha?: string }>;
}

interface Application {
  cluster: string;
  engine: string;
  namespace: string;
  name: string;
  deleted: boolean;
  autoSync?: boolean;
  selfHeal?: boolean;
  suspended?: boolean;
  lastSync?: Sync;
}

interface Finding {
  kind: string;
  strength: string;
  detail: string;
  cluster?: string;
  object?: { text: string };
  fields?: string[];
  change?: { id: string; at: string; actor: string; initiator?: string; verdict?: string };
  commits?: Array<{ repo: string; sha: string; subject: string; author: string; committedAt: string }>;
  evidence: Array<{ kind: string; ref: string; detail: string }>;
}

interface Drift {
  application: Application;
  state: 'in_sync' | 'drifted' | 'unknown';
  deployed?: Sync;
  objects: number;
  findings: Finding[];
  unknowns: Array<{ subject: string; reason: string }>;
  notes: string[];
}

interface Flags extends GlobalFlags {
  cluster?: string[];
  namespace?: string[];
  engine?: string[];
  limit: number;
}

interface Page<T> {
  items: T[];
  next: string | null;
}

const MOST_COMMITS = 10;

/** What GitOps controllers deploy, and how it stands to git. */
export function driftCommands(program: Command): void {
  applicationsCommand(program);
  driftCommand(program);
}

function filtered(command: Command): Command {
  return command
    .argument('[APP]', 'the name of the Application, Kustomization or HelmRelease')
    .option('--cluster <cluster>', 'only this cluster (may be repeated)', collect)
    .option('-n, --namespace <namespace>', 'of the application itself (may be repeated)', collect)
    .option('--engine <engine>', 'argocd, flux or helm (may be repeated)', collect)
    .option('--limit <n>', 'at most this many', wholeNumber('--limit', 1, 1000), 100);
}

/** Pages until there is no more, or there are enough. */
async function fetchAll<T>(
  context: Context,
  path: string,
  name: string | undefined,
  flags: Flags,
): Promise<Page<T>> {
  const { cluster, namespace, engine, limit } = flags;
  const items: T[] = [];
  let cursor: string | undefined;
  for (;;) {
    const asked = { name, cluster, namespace, engine, cursor, limit: Math.min(50, limit - items.length) };
    const page = await context.client.get<Page<T>>(path, asked);
    items.push(...page.items);
    if (page.next === null || items.length >= limit) return { items, next: page.next };
    cursor = page.next;
  }
}

function applicationsCommand(program: Command): void {
  const command = filtered(
    program
      .command('applications')
      .description('what Argo CD and Flux deploy, with the last sync and what is switched off'),
  );
  examples(command, [
    ['applications --engine argocd --cluster prod', 'the Applications of a cluster'],
  ]).action(async (name: string | undefined, _flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<Flags>();
    const context = createContext(flags);
    const page = await fetchAll<Application>(context, '/v1/applications', name, flags);
    const { view } = context;
    writeTable(context, page.items, [
      { head: 'CLUSTER', value: (row) => row.cluster, optional: true },
      { head: 'ENGINE', value: (row) => row.engine },
      { head: 'APPLICATION', value: (row) => `${row.namespace}/${row.name}` },
      {
        head: 'LAST SYNC',
        value: ({ lastSync }) =>
          lastSync ? `${clock(lastSync.startedAt, view.utc)} ${lastSync.phase}` : 'none recorded',
      },
      { head: 'REVISION', value: ({ lastSync }) => revisions(lastSync) },
      { head: 'SET TO', value: settings, flexible: true },
    ]);
    if (page.next !== null) context.err('(there is more: raise --limit, or narrow the question)\n');
  });
}

function revisions(sync: Sync | undefined): string {
  return (sync?.sources ?? []).map(({ sha, revision }) => sha?.slice(0, 10) ?? revision).join(' ');
}

function settings(row: Application): string {
  if (row.deleted) return 'deleted';
  if (row.suspended) return 'suspended';
  if (row.autoSync === undefined) return 'unknown';
  if (!row.autoSync) return 'manual sync';
  return row.selfHeal || row.engine === 'helm' ? 'auto-sync' : 'auto-sync, no self-heal';
}

function driftCommand(program: Command): void {
  const command = filtered(
    program
      .command('drift')
      .description(
        'what runs that git does not say, and what git says that does not run. Exit code 0: in sync; 1: drifted; 6: unknown',
      ),
  );
  examples(command, [
    ['drift web', 'one application, with who changed what'],
    ['drift --cluster prod -o json', 'for a script; the exit code tells the worst'],
  ]).action(async (name: string | undefined, _flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<Flags>();
    const context = createContext(flags);
    const page = await fetchAll<Drift>(context, '/v1/drift', name, flags);
    if (name !== undefined && page.items.length === 0)
      throw new CliError(
        EXIT.notFound,
        `no application is called ${name}`,
        '`whochanged applications` lists them',
      );
    const rows = page.items.map((item) => ({ name: item.application.name, ...item }));
    if (!writeStructured(context, page, rows)) {
      if (page.items.length === 0) context.err('no application is recorded\n');
      else if (page.items.length === 1) renderOne(context, page.items[0]!);
      else renderMany(context, page.items);
    }
    if (page.next !== null) context.err('(there is more: raise --limit, or narrow the question)\n');
    if (page.items.some(({ state }) => state === 'drifted')) process.exitCode = EXIT.nothing;
    else if (page.next !== null || page.items.some(({ state }) => state === 'unknown'))
      process.exitCode = EXIT.unknown;
  });
}

function renderMany(context: Context, items: Drift[]): void {
  const { view } = context;
  const rows = items.flatMap((item) => {
    const told = [
      ...item.findings.map(({ detail }) => detail),
      ...item.unknowns.map(({ subject, reason }) => `unknown: ${subject}: ${reason}`),
    ];
    return (told.length > 0 ? told : ['']).map((detail, i) => ({ item, detail, first: i === 0 }));
  });
  context.out(
    renderTable(
      [
        {
          head: 'CLUSTER',
          value: ({ item, first }) => (first ? item.application.cluster : ''),
          optional: true,
        },
        {
          head: 'APPLICATION',
          value: ({ item, first }) =>
            first ? `${item.application.engine} ${item.application.namespace}/${item.application.name}` : '',
        },
        {
          head: 'STATE',
          value: ({ item, first }) => (first ? item.state.replace('_', ' ') : ''),
          paint: (text) => paint(context, text),
        },
        {
          head: 'DEPLOYED',
          value: ({ item, first }) => (first ? revisions(item.deployed) : ''),
          optional: true,
        },
        { head: 'WHAT', value: ({ detail }) => detail, flexible: true },
      ],
      rows,
      { width: view.wide ? Number.POSITIVE_INFINITY : view.width, colors: view.colors },
    ),
  );
}

function paint({ view }: Context, text: string): string {
  if (text.startsWith('drifted')) return view.colors.red(text);
  return text.startsWith('unknown') ? view.colors.yellow(text) : view.colors.green(text);
}

function renderOne(context: Context, item: Drift): void {
  const { view } = context;
  const { application } = item;
  const line = (head: string, text: string) => context.out(`${`${head}:`.padEnd(12)} ${safe(text)}\n`);
  line(
    'Application',
    `${application.engine} ${application.namespace}/${application.name} in cluster ${application.cluster}`,
  );
  context.out(`${'State:'.padEnd(12)} ${paint(context, item.state.replace('_', ' '))}\n`);
  line(
    'Deployed',
    item.deployed
      ? `${revisions(item.deployed)} by the sync of ${clock(item.deployed.startedAt, view.utc)}`
      : 'not known',
  );
  line('Set to', settings(application));
  line('Objects', String(item.objects));
  for (const finding of item.findings) {
    context.out(`\n${finding.kind.replaceAll('_', ' ')} (${finding.strength})\n`);
    context.out(`  ${safe(finding.detail)}\n`);
    const { change } = finding;
    if (change)
      context.out(
        `  ${clock(change.at, view.utc)} ${safe(change.initiator ?? change.actor)}; whochanged show ${change.id}\n`,
      );
    for (const field of finding.fields ?? []) context.out(`    ${safe(field)}\n`);
    for (const commit of (finding.commits ?? []).slice(0, MOST_COMMITS))
      context.out(`    ${commit.sha.slice(0, 10)} ${safe(commit.author)}: ${safe(commit.subject)}\n`);
    const more = (finding.commits?.length ?? 0) - MOST_COMMITS;
    if (more > 0) context.out(`    and ${more} more; -o json has them\n`);
  }
  if (item.unknowns.length > 0) context.out('\nNot known\n');
  for (const { subject, reason } of item.unknowns) context.out(`  ${safe(subject)}: ${safe(reason)}\n`);
  if (item.notes.length > 0) context.out('\nBesides\n');
  for (const note of item.notes) context.out(`  ${safe(note)}\n`);
}
