import { type Command, Option } from 'commander';
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
import { renderTable } from '../render/table.js';
import { clock, duration } from '../render/text.js';
import { writeTable } from './lists.js';

type Evidence =
  | { kind: 'counters'; samples: number }
  | { kind: 'canaries'; sent: number; seen: number; latencySeconds: number | null }
  | { kind: 'receiver'; downSeconds: number };

interface Step {
  /** Steps have none. */
  id?: never;
  cluster: string;
  source: string;
  since: string;
  until: string;
  verdict: string;
  reasons: string[];
  expected: number | null;
  received: number | null;
  missing: number | null;
  missingAtMost: number | null;
  gaps: number;
  evidence: Evidence[];
}

interface Gap {
  id: string;
  cluster: string;
  source: string;
  cause: string;
  since: string;
  until: string;
  missing?: number;
  object?: { text: string };
  evidence: Record<string, unknown>;
  state: string;
  closedReason?: string;
}

interface Flags extends GlobalFlags {
  cluster?: string;
  source?: string;
  since?: string;
  until?: string;
}

function placed(command: Command): Command {
  return command
    .option('--cluster <cluster>', 'only this cluster')
    .option('--source <source>', 'only this source')
    .option('--since <time>', 'RFC 3339, or 30m, 2h, 7d ago', timeOption('--since'))
    .option('--until <time>', 'up to but not including', timeOption('--until'));
}

export function completenessCommands(program: Command): void {
  completenessCommand(program);
  gapsCommand(program);
}

function completenessCommand(program: Command): void {
  const command = placed(
    program
      .command('completeness')
      .description('whether everything that was told is here, by source and time'),
  )
    .option('--step <duration>', 'such as 5m, 1h, 1d (default a 24th of the time)')
    .option('--exit-code', 'exit with 1 unless all of it is proven complete');
  examples(command, [
    ['completeness', 'the last 24 hours, by the hour'],
    ['completeness --since 30d --step 1d --cluster prod', 'a month, for an audit'],
    ['completeness --since 2h --until 1h --exit-code', 'for a script'],
  ]).action(async (_flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<Flags & { step?: string; exitCode?: boolean }>();
    const context = createContext(flags);
    const { cluster, source, since, until, step } = flags;
    const answer = await context.client.get<{ verdict: string; items: Step[] }>('/v1/completeness', {
      cluster,
      source,
      since,
      until,
      step,
    });
    const { colors, utc, width } = context.view;
    if (!writeStructured(context, answer, answer.items)) {
      if (answer.items.length === 0) context.err('no source is known\n');
      else
        context.out(
          renderTable<Step>(
            [
              { head: 'SOURCE', value: (row) => row.source },
              { head: 'SINCE', value: (row) => clock(row.since, utc) },
              { head: 'UNTIL', value: (row) => clock(row.until, utc).slice(11), optional: true },
              {
                head: 'VERDICT',
                value: (row) => row.verdict,
                paint: (text, row) =>
                  row.verdict === 'incomplete'
                    ? colors.red(text)
                    : row.verdict === 'complete'
                      ? colors.green(text)
                      : text,
              },
              { head: 'EXPECTED', value: (row) => String(row.expected ?? '') },
              { head: 'RECEIVED', value: (row) => String(row.received ?? '') },
              { head: 'MISSING', value: missingText },
              { head: 'GAPS', value: (row) => String(row.gaps || '') },
              { head: 'WHY', value: whyText, flexible: true },
            ],
            answer.items,
            { width: context.view.wide ? Number.POSITIVE_INFINITY : width, colors },
          ),
        );
      context.err(`all of it: ${answer.verdict}\n`);
    }
    if (flags.exitCode && answer.verdict !== 'complete')
      throw new CliError(EXIT.nothing, `not proven complete: ${answer.verdict}`);
  });
}

function missingText({ missing, missingAtMost }: Step): string {
  if (missing === null || missingAtMost === null) return '';
  return missing === missingAtMost ? String(missing) : `${missing} to ${missingAtMost}`;
}

function whyText({ reasons, evidence }: Step): string {
  const told = evidence.flatMap((item) => {
    if (item.kind === 'canaries')
      return [
        `${item.seen} of ${item.sent} canaries${item.latencySeconds === null ? '' : ` within ${duration(item.latencySeconds)}`}`,
      ];
    return item.kind === 'receiver' && item.downSeconds > 0
      ? [`receiver down ${duration(item.downSeconds)}`]
      : [];
  });
  return [...reasons.map((reason) => reason.replaceAll('_', ' ')), ...told].join('; ');
}

function gapsCommand(program: Command): void {
  const command = placed(
    program
      .command('gaps')
      .description('what is known, or must be feared, to be missing; those that end last first'),
  )
    .option(
      '--cause <cause>',
      'events_missing, canary_missing, generation_gap, ... (may be repeated)',
      collect,
    )
    .addOption(new Option('--state <state>', 'only those').choices(['open', 'closed']))
    .option('--all', 'closed ones too')
    .option('--limit <n>', 'at most this many', wholeNumber('--limit', 1, 1000), 50);
  examples(command, [
    ['gaps', 'what is missing'],
    ['gaps --since 7d --all', 'a week, with what has been filled since'],
    ['gaps --cause generation_gap -o json', 'objects with a write missing'],
  ]).action(async (_flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<
      Flags & { cause?: string[]; state?: string; all?: boolean; limit: number }
    >();
    const context = createContext(flags);
    const { cluster, source, since, until, cause, limit } = flags;
    const state = flags.state ?? (flags.all ? undefined : 'open');
    const query = { cluster, source, since, until, cause, state, limit };
    const page = await context.client.get<{ items: Gap[]; next: string | null }>('/v1/gaps', query);
    const { utc } = context.view;
    writeTable(context, page.items, [
      { head: 'ID', value: (row) => row.id },
      { head: 'SOURCE', value: (row) => row.source },
      { head: 'CAUSE', value: (row) => row.cause },
      { head: 'SINCE', value: (row) => clock(row.since, utc) },
      { head: 'UNTIL', value: (row) => clock(row.until, utc) },
      { head: 'MISSING', value: (row) => (row.missing === undefined ? 'unknown' : String(row.missing)) },
      { head: 'STATE', value: (row) => row.closedReason?.replaceAll('_', ' ') ?? row.state },
      { head: 'EVIDENCE', value: evidenceText, flexible: true },
    ]);
    if (page.next !== null) context.err('(there is more: raise --limit, or narrow the question)\n');
  });
}

function evidenceText({ object, evidence }: Gap): string {
  const parts = Object.entries(evidence).map(
    ([key, value]) => `${key} ${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  return [...(object ? [object.text] : []), ...parts].join(', ');
}
