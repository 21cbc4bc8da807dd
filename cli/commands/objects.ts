import type { Command } from 'commander';
import { stringify } from 'yaml';
import { createContext, type GlobalFlags, timeOption, wholeNumber, writeStructured } from '../context.js';
import { CliError, EXIT } from '../exit.js';
import { locateObject } from '../object-ref.js';
import { type Change, type Detail, type FieldChange, renderChange, renderDiff } from '../render/changes.js';
import { renderTable } from '../render/table.js';
import { clock, safe } from '../render/text.js';
import { writeChanges } from './changes.js';

interface ObjectFlags extends GlobalFlags {
  namespace?: string;
  cluster?: string;
}

interface State {
  exists: 'yes' | 'no' | 'unknown';
  object: unknown;
  certainty: string;
  at?: string;
  notes: string[];
  fields?: Array<{ path: string; value: unknown; certainty: string; doubt?: string }>;
}

const CHANGE_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;

function objectCommand(program: Command, name: string, argument: string, description: string): Command {
  return program
    .command(name)
    .description(description)
    .argument(argument)
    .option('-n, --namespace <namespace>', 'its namespace')
    .option('--cluster <cluster>', 'its cluster');
}

export function objectCommands(program: Command): void {
  objectCommand(
    program,
    'show',
    '<CHANGE_ID|TYPE/NAME>',
    'one change in full, or an object as it was at a time',
  )
    .option('--at <time>', 'the time of the state (default now)', timeOption('--at'))
    .option('--fields', 'every field with how certain it is')
    .addHelpText(
      'after',
      `
Examples:
  whochanged show 01a20dc9-9350-8a1e-80d7-f3b269a4d073   a change: its fields, cause, and what it set off
  whochanged show deploy/web -n prod --at 2h             the Deployment two hours ago, as YAML`,
    )
    .action(async (what: string, _flags: unknown, command: Command) => {
      const flags = command.optsWithGlobals<ObjectFlags & { at?: string; fields?: boolean }>();
      const context = createContext(flags);
      if (CHANGE_ID.test(what)) {
        const change = await context.client.get<Change & Detail>(`/v1/changes/${what}`);
        if (!writeStructured(context, change, [change])) context.out(renderChange(change, context.view));
        return;
      }
      const { path, text } = await locateObject(context.client, what, flags);
      const state = await context.client.get<State>(`${path}/state`, { at: flags.at });
      for (const note of state.notes) context.err(`# ${note}\n`);
      if (state.object === null) throw new CliError(EXIT.nothing, `nothing is known of ${text} at that time`);
      if (context.output !== 'table' && writeStructured(context, state)) return;
      if (flags.fields) {
        context.out(
          renderTable(
            [
              { head: 'FIELD', value: (row) => row.path },
              { head: 'CERTAINTY', value: (row) => row.certainty },
              {
                head: 'VALUE',
                value: (row) => (typeof row.value === 'string' ? row.value : JSON.stringify(row.value)),
                flexible: true,
              },
              { head: 'WHY', value: (row) => row.doubt ?? '' },
            ],
            state.fields ?? [],
            context.view,
          ),
        );
        return;
      }
      context.out(
        `# ${safe(text)} as of ${state.at ? clock(state.at, true) : 'unknown'}Z, ${state.certainty}${state.exists === 'no' ? ', deleted since' : ''}\n${stringify(state.object, { lineWidth: 0 })}`,
      );
    });

  objectCommand(program, 'history', '<TYPE/NAME>', 'everything that changed an object, newest first')
    .option('--limit <n>', 'at most this many', wholeNumber('--limit', 1, 1000), 50)
    .action(async (ref: string, _flags: unknown, command: Command) => {
      const flags = command.optsWithGlobals<ObjectFlags & { limit: number }>();
      const context = createContext(flags);
      const { path } = await locateObject(context.client, ref, flags);
      const page = await context.client.get<{ items: Change[]; next: string | null }>(`${path}/history`, {
        limit: flags.limit,
      });
      if (!writeStructured(context, page, page.items)) writeChanges(context, page.items, page.next !== null);
    });

  objectCommand(
    program,
    'diff',
    '<CHANGE_ID|TYPE/NAME>',
    'the fields of a change, or what differs between two times',
  )
    .option('--from <time>', 'the earlier time (default 24h)', timeOption('--from'))
    .option('--to <time>', 'the later time (default now)', timeOption('--to'))
    .option('--exit-code', 'exit with 1 when there are differences')
    .action(async (what: string, _flags: unknown, command: Command) => {
      const flags = command.optsWithGlobals<
        ObjectFlags & { from?: string; to?: string; exitCode?: boolean }
      >();
      const context = createContext(flags);
      let diff: FieldChange[] | null | undefined;
      if (CHANGE_ID.test(what)) diff = (await context.client.get<Change>(`/v1/changes/${what}`)).diff;
      else {
        const { path } = await locateObject(context.client, what, flags);
        const compared = await context.client.get<{ from: State; to: State; diff: FieldChange[] | null }>(
          `${path}/compare`,
          { from: flags.from ?? '24h', to: flags.to },
        );
        for (const [side, state] of [
          ['from', compared.from],
          ['to', compared.to],
        ] as const)
          for (const note of state.notes) context.err(`# ${side}: ${note}\n`);
        diff = compared.diff;
      }
      if (diff == null)
        throw new CliError(
          EXIT.nothing,
          'no fields can be compared',
          'one of the two states is not known; see `whochanged history`',
        );
      if (!writeStructured(context, diff)) context.out(renderDiff(diff, context.view.colors));
      if (flags.exitCode && diff.length > 0) process.exitCode = EXIT.nothing;
    });

  objectCommand(
    program,
    'rollback',
    '<TYPE/NAME>',
    'a former state as a manifest to apply (stdout), with what it would undo (stderr)',
  )
    .requiredOption('--to <time|CHANGE_ID>', 'the time of the state, or a change: the state before it')
    .addHelpText(
      'after',
      `
Examples:
  whochanged rollback deploy/web -n prod --to 2h > web.yaml
  whochanged rollback deploy/web -n prod --to 2h | kubectl diff -f -`,
    )
    .action(async (ref: string, _flags: unknown, command: Command) => {
      const flags = command.optsWithGlobals<ObjectFlags & { to: string }>();
      const context = createContext(flags);
      const { path } = await locateObject(context.client, ref, flags);
      const to = CHANGE_ID.test(flags.to)
        ? before((await context.client.get<Change>(`/v1/changes/${flags.to}`)).at)
        : timeOption('--to')(flags.to);
      const answer = await context.client.get<{
        manifest: string;
        undoes: FieldChange[] | null;
        warnings: string[];
      }>(`${path}/rollback`, { to });
      if (context.output !== 'table' && context.output !== 'yaml' && writeStructured(context, answer)) return;
      for (const warning of answer.warnings) context.err(`warning: ${safe(warning)}\n`);
      if (answer.undoes?.length)
        context.err(
          `applying it would make these changes:\n${renderDiff(answer.undoes, { ...context.view.colors })}`,
        );
      context.out(answer.manifest);
    });
}

/** A microsecond before a time. */
function before(at: string): string {
  const micros = Number(at.slice(20, 26)) - 1;
  return micros >= 0
    ? `${at.slice(0, 20)}${String(micros).padStart(6, '0')}Z`
    : new Date(Date.parse(at) - 1).toISOString();
}
