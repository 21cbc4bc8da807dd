import type { Command } from 'commander';
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
import { joinRef, locateObject } from '../object-ref.js';
import { yaml } from '../on-demand.js';
import { type Detail, renderChange } from '../render/change.js';
import type { Change, View } from '../render/changes.js';
import { changesCsv, fieldsCsv } from '../render/csv.js';
import { type FieldChange, renderDiff } from '../render/diff.js';
import { renderTable } from '../render/table.js';
import { clock, safe } from '../render/text.js';
import { type Page, writePage } from './changes.js';

export interface ObjectFlags extends GlobalFlags {
  namespace?: string;
  cluster?: string;
}

interface State {
  exists: 'yes' | 'no' | 'unknown';
  object: { metadata?: { managedFields?: unknown } } | null;
  certainty: string;
  at?: string;
  notes: string[];
  fields?: Array<{ path: string; value: unknown; certainty: string; doubt?: string }>;
}

export const CHANGE_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** A command about an object, or where it says so about a change. */
export function objectCommand(
  program: Command,
  name: string,
  argument: string,
  description: string,
): Command {
  return program
    .command(name)
    .description(description)
    .argument(
      argument,
      argument.startsWith('<CHANGE') ? 'a change, or an object such as deploy/web' : 'such as deploy/web',
    )
    .argument('[NAME]', 'where it was not given with the type')
    .option('-n, --namespace <namespace>', 'its namespace')
    .option('--cluster <cluster>', 'its cluster');
}

export function objectCommands(program: Command): void {
  showCommand(program);
  historyCommand(program);
  diffCommand(program);
}

function showCommand(program: Command): void {
  const command = objectCommand(
    program,
    'show',
    '<CHANGE_ID|TYPE/NAME>',
    'one change in full, or an object as it was at a time',
  )
    .option('--at <time>', 'the time of the state (default now)', timeOption('--at'))
    .option('--fields', 'every field with how certain it is')
    .option('--show-managed-fields', 'with metadata.managedFields');
  examples(command, [
    ['show 01a20dc9-9350-8a1e-80d7-f3b269a4d073', 'a change: its fields, cause, and what it set off'],
    ['show deploy/web -n prod --at 2h', 'the Deployment two hours ago, as YAML'],
    ['show deploy/web -n prod --fields', 'how certain each of its fields is'],
  ]).action(async (type: string, name: string | undefined, _flags: unknown, called: Command) => {
    const what = joinRef(type, name);
    const flags = called.optsWithGlobals<
      ObjectFlags & { at?: string; fields?: boolean; showManagedFields?: boolean }
    >();
    const context = createContext(flags, 'one');
    if (CHANGE_ID.test(what)) {
      forObjectsOnly({ at: flags.at, fields: flags.fields, 'show-managed-fields': flags.showManagedFields });
      const change = await context.client.get<Change & Detail>(`/v1/changes/${what}`);
      if (!writeStructured(context, change, [change], () => changesCsv([change])))
        context.out(renderChange(change, context.view));
      return;
    }
    const { path, text } = await locateObject(context.client, what, flags);
    const state = await context.client.get<State>(`${path}/state`, { at: flags.at });
    for (const note of state.notes) context.err(`# ${safe(note)}\n`);
    if (state.object === null)
      throw new CliError(
        EXIT.nothing,
        `nothing is known of ${text} at that time`,
        `see \`whochanged history ${what}\` for the times at which something is`,
      );
    if (!flags.showManagedFields) delete state.object.metadata?.managedFields;
    if (context.output === 'csv') context.out(stateCsv(state.fields ?? []));
    if (context.output === 'csv' || writeStructured(context, state)) return;
    if (flags.fields) context.out(fieldTable(state, context.view));
    else
      context.out(
        `# ${safe(text)} as of ${state.at ? clock(state.at, true) : 'unknown'}Z, ${state.certainty}${state.exists === 'no' ? ', deleted since' : ''}\n${yaml().stringify(state.object, { lineWidth: 0 })}`,
      );
  });
}

const stateCsv = fieldsCsv<NonNullable<State['fields']>[number]>(['path', 'value', 'certainty', 'doubt']);
const diffCsv = fieldsCsv<FieldChange>(['path', 'op', 'before', 'after', 'certainty']);

function fieldTable(state: State, view: View): string {
  return renderTable(
    [
      { head: 'FIELD', value: (row) => row.path, most: 60 },
      { head: 'CERTAINTY', value: (row) => row.certainty },
      { head: 'WHY', value: (row) => row.doubt ?? '', most: 30 },
      {
        head: 'VALUE',
        value: (row) => (typeof row.value === 'string' ? row.value : JSON.stringify(row.value)),
        flexible: true,
      },
    ],
    state.fields ?? [],
    view,
  );
}

/** A change is what it is: what asks for another time, or for more of an object, was meant for an object. */
function forObjectsOnly(flags: Record<string, unknown>): void {
  const given = Object.keys(flags).filter((name) => flags[name] !== undefined);
  if (given.length > 0)
    throw new CliError(
      EXIT.usage,
      `--${given.join(', --')}: of a change there is nothing to choose`,
      'leave it out, or name an object such as deploy/web',
    );
}

function historyCommand(program: Command): void {
  const command = objectCommand(
    program,
    'history',
    '<TYPE/NAME>',
    'everything that changed an object, newest first',
  ).option('--limit <n>', 'at most this many', wholeNumber('--limit', 1, 1000), 50);
  examples(command, [
    ['history deploy/web -n prod', 'since it was first seen'],
    ['history node/worker-1 -o json', 'for a script'],
  ]).action(async (type: string, name: string | undefined, _flags: unknown, called: Command) => {
    const ref = joinRef(type, name);
    const flags = called.optsWithGlobals<ObjectFlags & { limit: number }>();
    const context = createContext(flags);
    const { path } = await locateObject(context.client, ref, flags);
    writePage(context, await context.client.get<Page>(`${path}/history`, { limit: flags.limit }));
  });
}

function diffCommand(program: Command): void {
  const command = objectCommand(
    program,
    'diff',
    '<CHANGE_ID|TYPE/NAME>',
    'the fields of a change, or what differs between two times',
  )
    .option('--from <time>', 'the earlier time (default 24h)', timeOption('--from'))
    .option('--to <time>', 'the later time (default now)', timeOption('--to'))
    .option('--exit-code', 'exit with 1 when there are differences');
  examples(command, [
    ['diff 01a20dc9-9350-8a1e-80d7-f3b269a4d073', 'what one change did'],
    ['diff deploy/web -n prod --from 2h', 'what differs since two hours ago'],
    ['diff deploy/web --from 2026-03-02T09:00:00Z --to 2026-03-02T10:00:00Z', 'between two times'],
  ]).action(async (type: string, name: string | undefined, _flags: unknown, called: Command) => {
    const what = joinRef(type, name);
    const flags = called.optsWithGlobals<ObjectFlags & { from?: string; to?: string; exitCode?: boolean }>();
    const context = createContext(flags, 'one');
    if (CHANGE_ID.test(what)) forObjectsOnly({ from: flags.from, to: flags.to });
    const { diff, why } = CHANGE_ID.test(what)
      ? await diffOfChange(context, what)
      : await compare(context, what, flags);
    if (diff === null)
      throw new CliError(
        EXIT.nothing,
        `no fields can be compared: ${why}`,
        CHANGE_ID.test(what) ? `see \`whochanged show ${what}\`` : `see \`whochanged history ${what}\``,
      );
    if (!writeStructured(context, diff, diff as object[], diffCsv)) {
      if (diff.length === 0) context.err('no differences\n');
      context.out(renderDiff(diff, context.view.colors));
    }
    if (flags.exitCode && diff.length > 0) process.exitCode = EXIT.nothing;
  });
}

/** What differs; null where there are no two states to compare, and why not. */
interface Compared {
  diff: FieldChange[] | null;
  why?: string;
}

async function diffOfChange(context: Context, id: string): Promise<Compared> {
  const { kind, diff } = await context.client.get<Change>(`/v1/changes/${id}`);
  if (diff) return { diff };
  const why =
    kind === 'create' || kind === 'delete'
      ? `before or after this ${kind} there was no object`
      : 'the object before and after it is not known, or it wrote none';
  return { diff: null, why };
}

async function compare(
  context: Context,
  ref: string,
  flags: ObjectFlags & { from?: string; to?: string },
): Promise<Compared> {
  const { path } = await locateObject(context.client, ref, flags);
  const compared = await context.client.get<{ from: State; to: State; diff: FieldChange[] | null }>(
    `${path}/compare`,
    { from: flags.from ?? '24h', to: flags.to },
  );
  for (const side of ['from', 'to'] as const)
    for (const note of compared[side].notes) context.err(`# ${side}: ${safe(note)}\n`);
  if (compared.diff !== null) {
    const [from, to] = [compared.from, compared.to].map((side) => versionText(side, context.view));
    if (context.output === 'table' || context.output === 'wide')
      context.err(`# from the version of ${from} to that of ${to}\n`);
    return { diff: compared.diff };
  }
  const gone = (['from', 'to'] as const).filter((side) => compared[side].exists === 'no');
  const why =
    gone.length > 0
      ? `it did not exist at the time of ${gone.map((side) => `--${side}`).join(' and ')}`
      : 'one of the two states is not known';
  return { diff: null, why };
}

/** When a state came about, and how it is known: two times may see the same one. */
export function versionText({ at, certainty }: Pick<State, 'at' | 'certainty'>, { utc }: View): string {
  return at === undefined ? certainty : `${clock(at, utc)}${utc ? 'Z' : ''} (${certainty})`;
}
