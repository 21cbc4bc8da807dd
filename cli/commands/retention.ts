import type { Command } from 'commander';
import { createContext, type GlobalFlags, writeStructured } from '../context.js';
import { examples } from '../examples.js';
import { clock } from '../render/text.js';
import { writeTable } from './lists.js';

interface RetentionAnswer {
  policies: Array<{ version: number; policy: string; appliedAt: string }>;
  segments: Array<{
    cluster: string;
    state: string;
    segments: number;
    events: number;
    bytes: number;
    since: string;
    until: string;
    error: string | null;
  }>;
}

export function retentionCommand(program: Command): void {
  const command = program
    .command('retention')
    .description('which retention policy is followed, and what lies in the archive');
  examples(command, [
    ['retention', 'the policy in force, and the archive by cluster'],
    ['retention -o json', 'with the policies of before'],
  ]).action(async (_flags: unknown, called: Command) => {
    const context = createContext(called.optsWithGlobals<GlobalFlags>());
    const answer = await context.client.get<RetentionAnswer>('/v1/retention');
    if (
      writeStructured(
        context,
        answer,
        answer.segments.map((row) => ({ name: row.cluster, ...row })),
      )
    )
      return;
    const { utc } = context.view;
    const [current] = answer.policies;
    if (current?.policy)
      context.out(`policy ${current.version}, since ${clock(current.appliedAt, utc)}: ${current.policy}\n`);
    else context.out('no policy: nothing leaves the database\n');
    if (answer.segments.length === 0) return;
    writeTable(context, answer.segments, [
      { head: 'CLUSTER', value: (row) => row.cluster },
      { head: 'STATE', value: (row) => row.state },
      { head: 'SEGMENTS', value: (row) => String(row.segments) },
      { head: 'EVENTS', value: (row) => String(row.events) },
      { head: 'MIB', value: (row) => (row.bytes / 1_048_576).toFixed(1) },
      { head: 'FROM', value: (row) => clock(row.since, utc) },
      { head: 'UNTIL', value: (row) => clock(row.until, utc) },
      { head: 'PROBLEM', value: (row) => row.error ?? '-', flexible: true },
    ]);
  });
}
