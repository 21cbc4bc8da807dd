import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { ChangedVerdict, PolicyTestLine, PolicyTestSummary } from '../../core/verdict/policy-test.js';
import { collect, createContext, type GlobalFlags, timeOption, writeStructured } from '../context.js';
import { examples } from '../examples.js';
import { CliError, EXIT } from '../exit.js';
import { yaml } from '../on-demand.js';
import { renderTable } from '../render/table.js';
import { clock, safe } from '../render/text.js';

interface PolicyVersion {
  name: string;
  version: string;
  digest: string;
}

/** The policy that verdicts are made by. */
export function policyCommands(program: Command): void {
  const policy = program.command('policy').description('the policy that verdicts are made by');
  examples(policy, [
    ['policy check policy.yaml', 'before it is rolled out'],
    ['policy test policy.yaml --since 30d', 'what it would have said'],
  ]);
  showCommand(policy);
  checkCommand(policy);
  testCommand(policy);
}

function showCommand(policy: Command): void {
  const command = policy.command('show').description('the policy that holds now, as its file has it');
  examples(command, [['policy show > policy.yaml', 'its file; the built-in one as it is understood']]).action(
    async (_flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>(), 'one');
      const shown = await context.client.get<
        PolicyVersion & { builtIn: boolean; text?: string; document: unknown }
      >('/v1/policy');
      if (writeStructured(context, shown)) return;
      context.err(
        `${safe(shown.version)}${shown.builtIn ? ', built in: WHOCHANGED_POLICY_FILE is not set' : ''}\n`,
      );
      context.out(shown.text ?? yaml().stringify(shown.document, { lineWidth: 0 }));
    },
  );
}

function checkCommand(policy: Command): void {
  const command = policy
    .command('check')
    .description('whether a policy file is valid; every problem with its line')
    .argument('<FILE>', 'the policy, YAML');
  examples(command, [['policy check policy.yaml', 'the exit code is 2 where it is not valid']]).action(
    async (file: string, _flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>(), 'one');
      const body = { text: await readPolicyFile(file), name: file };
      const found = await context.client.post<PolicyVersion & { environments: string[] }>(
        '/v1/policy/check',
        body,
      );
      if (!writeStructured(context, found))
        context.out(
          `${safe(found.version)} is valid; environments: ${safe(found.environments.join(', '))}\n`,
        );
    },
  );
}

const SHOWN = 50;

function testCommand(policy: Command): void {
  const command = policy
    .command('test')
    .description('judge history by another policy: what would change; nothing is written')
    .argument('<FILE>', 'the policy, YAML')
    .option('--since <time>', 'of the changes (default 7d)', timeOption('--since'))
    .option('--until <time>', 'up to but not including', timeOption('--until'))
    .option('--cluster <cluster>', 'only this cluster (may be repeated)', collect)
    .option('--exit-code', 'exit with 1 when anything would change');
  examples(command, [
    ['policy test policy.yaml --since 30d', 'a month by the new policy'],
    ['policy test policy.yaml --exit-code', 'for a pipeline'],
  ]).action(async (file: string, _flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<
      GlobalFlags & { since?: string; until?: string; cluster?: string[]; exitCode?: boolean }
    >();
    const context = createContext(flags);
    const { since, until, cluster } = flags;
    const body = { text: await readPolicyFile(file), name: file };
    const changed: ChangedVerdict[] = [];
    let summary: PolicyTestSummary | undefined;
    for await (const line of context.client.lines<PolicyTestLine>(
      '/v1/policy/test',
      { since, until, cluster },
      body,
    )) {
      if ('summary' in line) summary = line.summary;
      else if ('changed' in line) changed.push(line.changed);
      else if (process.stderr.isTTY) context.err(`\r${line.progress.tested} changes`);
    }
    if (process.stderr.isTTY) context.err('\n');
    if (!summary)
      throw new CliError(EXIT.failed, 'the test broke off', 'look into the log of the server, and try again');
    if (!writeStructured(context, { ...summary, items: changed }, changed)) {
      const { view } = context;
      if (changed.length > 0)
        context.out(
          renderTable<ChangedVerdict>(
            [
              { head: 'WHEN', value: (row) => clock(row.at, view.utc) },
              { head: 'CLUSTER', value: (row) => row.cluster, optional: true },
              { head: 'OBJECT', value: (row) => row.object, most: 40 },
              { head: 'ACTOR', value: (row) => row.username, most: 30, optional: true },
              { head: 'SAYS', value: (row) => verdictOf(row.before, row.beforeEnvironment, row.environment) },
              {
                head: 'WOULD SAY',
                value: (row) => verdictOf(row.after, row.environment, row.beforeEnvironment),
              },
              { head: 'WHY', value: (row) => row.detail, flexible: true },
            ],
            changed.slice(0, SHOWN),
            view,
          ),
        );
      if (changed.length > SHOWN) context.out(`... ${changed.length - SHOWN} more: -o json, -o csv\n`);
      context.out(
        `${safe(summary.policyVersion)}: ${summary.tested} changes judged, ${summary.changed} would be told otherwise\n`,
      );
      for (const { before, after, count } of summary.transitions)
        if (before !== after) context.out(`  ${count} × ${safe(before)} → ${safe(after)}\n`);
    }
    if (flags.exitCode && summary.changed > 0) process.exitCode = EXIT.nothing;
  });
}

/** With its environment where that would change too. */
function verdictOf(verdict: string, environment: string, other: string): string {
  return environment === other ? verdict : `${verdict} in ${environment}`;
}

async function readPolicyFile(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new CliError(EXIT.usage, `${file} can't be read: ${(error as Error).message}`);
  }
}
