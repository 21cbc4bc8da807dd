import type { Command } from 'commander';
import type { Query } from '../client.js';
import { type Context, createContext, timeOption, writeStructured } from '../context.js';
import { examples } from '../examples.js';
import { joinRef, locateObject } from '../object-ref.js';
import { actorText, type Change, didText } from '../render/changes.js';
import { type FieldChange, renderDiff } from '../render/diff.js';
import { clock, safe } from '../render/text.js';
import type { Page } from './changes.js';
import { CHANGE_ID, type ObjectFlags, objectCommand, versionText } from './objects.js';

const UNDONE_LISTED = 20;

export function rollbackCommand(program: Command): void {
  const command = objectCommand(
    program,
    'rollback',
    '<TYPE/NAME>',
    'a former state as a manifest to apply (stdout), with what it would undo (stderr)',
  ).requiredOption('--to <time|CHANGE_ID>', 'the time of the state, or a change: the state before it');
  examples(command, [
    ['rollback deploy/web -n prod --to 2h > web.yaml', 'as it was two hours ago'],
    ['rollback deploy/web -n prod --to 2h | kubectl diff -f -', 'what applying it would do'],
  ]).action(async (type: string, name: string | undefined, _flags: unknown, called: Command) => {
    const ref = joinRef(type, name);
    const flags = called.optsWithGlobals<ObjectFlags & { to: string }>();
    const context = createContext(flags, 'one');
    // A wrong time is said before anything is asked.
    const time = CHANGE_ID.test(flags.to) ? undefined : timeOption('--to')(flags.to);
    const { path, query } = await locateObject(context.client, ref, flags);
    const to = time ?? before((await context.client.get<Change>(`/v1/changes/${flags.to}`)).at);
    const answer = await context.client.get<Rollback>(`${path}/rollback`, { to });
    if (context.output !== 'yaml' && writeStructured(context, answer)) return;
    context.err(`# the version of ${versionText(answer, context.view)}\n`);
    for (const warning of answer.warnings) context.err(`warning: ${safe(warning)}\n`);
    if (answer.undoes?.length === 0) context.err('nothing differs from what it is now\n');
    else if (answer.undoes)
      context.err(
        `applying it would make these changes:\n${renderDiff(answer.undoes, context.view.errorColors)}`,
      );
    await tellUndone(context, answer, query);
    context.out(answer.manifest);
  });
}

interface Rollback {
  manifest: string;
  certainty: string;
  at: string;
  change: string;
  undoes: FieldChange[] | null;
  warnings: string[];
}

/** Whose doing lies between a former version and now: somebody may want to be asked before it is undone. */
async function tellUndone(context: Context, { at, change, undoes }: Rollback, query: Query): Promise<void> {
  if (undoes?.length === 0) return;
  const page = await context.client.get<Page>('/v1/changes', {
    ...query,
    since: at,
    limit: UNDONE_LISTED + 1,
  });
  const since = page.items.filter((item) => item.id !== change);
  if (since.length === 0) return;
  const { errorColors: colors, utc } = context.view;
  context.err(`${colors.bold('changed since then by')}\n`);
  for (const item of since.slice(0, UNDONE_LISTED))
    context.err(
      `  ${clock(item.at, utc)}  ${safe(`${actorText(item)}  ${didText(item)}  ${item.summary}  (${item.id})`)}\n`,
    );
  if (page.next !== null) context.err('  and more: see `whochanged history`\n');
}

/** A microsecond before a time. */
function before(at: string): string {
  const micros = Number(at.slice(20, 26)) - 1;
  return micros >= 0
    ? `${at.slice(0, 20)}${String(micros).padStart(6, '0')}Z`
    : new Date(Date.parse(at) - 1).toISOString();
}
