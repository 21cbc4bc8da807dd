import type { Command } from 'commander';
import { namedFiles } from '../../core/alerts/read-alerts.js';
import { collect, createContext, type GlobalFlags, timeOption, writeStructured } from '../context.js';
import { examples } from '../examples.js';
import { CliError, EXIT } from '../exit.js';
import { clock, duration, safe } from '../render/text.js';
import { besideFile, documentsOf, isOwn, readRulesFile } from '../rules-file.js';
import { readText } from './identities.js';
import { writeTable } from './lists.js';

/** What is looked for, and what would be found. */
export function alertRuleCommands(alert: Command): void {
  rulesCommand(alert);
  checkCommand(alert);
  testCommand(alert);
}

interface Rules {
  configured: boolean;
  rules: Array<{
    name: string;
    title: string;
    severity: string;
    format: string;
    on: string;
    windowSeconds: number;
    to: string[];
  }>;
  receivers: Array<{ name: string; kind: string; place: string }>;
  unsupported: Array<{ name: string; problem: string }>;
  builtIn: Array<{ name: string; title: string }>;
}

function rulesCommand(alert: Command): void {
  const command = alert
    .command('rules')
    .description('the rules that the server looks for, and whom they tell');
  examples(command, [['alert rules', 'and those built in that could be switched on']]).action(
    async (_flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>());
      const found = await context.client.get<Rules>('/v1/alert-rules');
      if (writeStructured(context, found, found.rules)) return;
      writeTable(context, found.rules, [
        { head: 'RULE', value: (row) => row.name },
        { head: 'FORMAT', value: (row) => row.format, optional: true },
        { head: 'SEVERITY', value: (row) => row.severity },
        { head: 'ON', value: (row) => row.on },
        { head: 'WINDOW', value: (row) => duration(row.windowSeconds), optional: true },
        { head: 'TO', value: (row) => row.to.join(', ') },
        { head: 'TITLE', value: (row) => row.title, flexible: true },
      ]);
      for (const { name, kind, place } of found.receivers)
        context.out(`receiver ${safe(name)}: ${kind}, ${safe(place)}\n`);
      for (const { name, problem } of found.unsupported)
        context.err(`left out: ${safe(name)}: ${safe(problem)}\n`);
      const off = found.builtIn.filter(({ name }) => found.rules.every((rule) => rule.name !== name));
      if (off.length > 0)
        context.err(`built in and not switched on: ${off.map(({ name }) => name).join(', ')}\n`);
      if (!found.configured) context.err('nothing is alerted: WHOCHANGED_ALERTS_FILE is not set\n');
    },
  );
}

function checkCommand(alert: Command): void {
  const check = alert
    .command('check')
    .description('which rules can be used; asks no server')
    .argument('<FILE...>', 'rules of our own, of Sigma or of Falco (k8s_audit)');
  examples(check, [
    ['alert check k8s_audit_rules.yaml', 'and what the others have that is not supported'],
  ]).action((files: string[], _flags: unknown, called: Command) => {
    const context = createContext(called.optsWithGlobals<GlobalFlags>());
    const rows: Array<{ name: string; file: string; format: string; severity: string; problem: string }> = [];
    for (const file of files) {
      const { rules, problems } = readRulesFile(readText(file), besideFile(file, readText));
      for (const { name, format, severity } of rules)
        rows.push({ name, format, severity, file, problem: '' });
      for (const { name, problem } of problems) rows.push({ name, file, format: '', severity: '', problem });
    }
    writeTable(context, rows, [
      { head: 'RULE', value: (row) => row.name },
      { head: 'FORMAT', value: (row) => row.format },
      { head: 'SEVERITY', value: (row) => row.severity },
      { head: 'FILE', value: (row) => row.file, optional: true },
      { head: 'NOT SUPPORTED', value: (row) => row.problem, flexible: true },
    ]);
    const left = rows.filter((row) => row.problem !== '').length;
    if (left > 0)
      throw new CliError(
        EXIT.nothing,
        `${left} of ${rows.length} rules can't be used`,
        'docs/alerts.md says what can',
      );
  });
}

interface Tested {
  rule: string;
  severity: string;
  cluster: string;
  at: string;
  message: string;
  changeID: string | null;
}
interface Summary {
  rows: number;
  rules: Array<{ rule: string; matches: number; alerts: number; notTested?: string }>;
  archived?: { before: string; classes: string[] };
}
/** A line of `POST /v1/alert-rules/test`. */
type Line =
  | { leftOut: { name: string; problem: string } }
  | { alert: Tested }
  | { progress: { cluster: string; rows: number; at?: string } }
  | { summary: Summary };

const SHOWN = 50;
const MOST_KEPT = 100_000;

function testCommand(alert: Command): void {
  const command = alert
    .command('test')
    .description('what rules would have alerted; nothing is written')
    .argument('[FILE]', 'rules of our own, of Sigma or of Falco; the loaded ones')
    .option('--rule <name>', 'only this rule (may be repeated)', collect)
    .option('--since <time>', 'where to begin (default 7d)', timeOption('--since'))
    .option('--until <time>', 'up to but not including', timeOption('--until'))
    .option('--cluster <cluster>', 'only this cluster (may be repeated)', collect)
    .option('--exit-code', 'exit with 1 when anything would be alerted');
  examples(command, [
    ['alert test rules.yaml --since 30d', 'before a rule is switched on'],
    ['alert test sigma.yaml --since 24h --until 1h', 'a rule of Sigma over a day'],
  ]).action(async (file: string | undefined, _flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<
      GlobalFlags & {
        since?: string;
        until?: string;
        cluster?: string[];
        rule?: string[];
        exitCode?: boolean;
      }
    >();
    const context = createContext(flags);
    const { since, until, cluster, rule } = flags;
    const body = file === undefined ? {} : bodyOf(file);
    const alerts: Tested[] = [];
    let summary: Summary | undefined;
    let kept = true;
    for await (const line of context.client.lines<Line>(
      '/v1/alert-rules/test',
      { since, until, cluster, rule },
      body,
    )) {
      if ('summary' in line) summary = line.summary;
      else if ('leftOut' in line)
        context.err(`left out: ${safe(line.leftOut.name)}: ${safe(line.leftOut.problem)}\n`);
      else if ('alert' in line) {
        if (alerts.length < MOST_KEPT) alerts.push(line.alert);
        else kept = false;
      } else if (process.stderr.isTTY)
        context.err(`\r${line.progress.rows} rows, up to ${line.progress.at?.slice(0, 19) ?? ''}`);
    }
    if (process.stderr.isTTY) context.err('\n');
    if (!summary)
      throw new CliError(EXIT.failed, 'the test broke off', 'look into the log of the server, and try again');
    if (!kept) context.err(`only the first ${MOST_KEPT} alerts are shown\n`);
    if (
      !writeStructured(
        context,
        { ...summary, items: alerts },
        alerts.map((one) => ({ ...one, changeID: one.changeID ?? '' })),
      )
    ) {
      const { view } = context;
      if (alerts.length > 0)
        writeTable(context, alerts.slice(0, SHOWN), [
          { head: 'WHEN', value: (row) => clock(row.at, view.utc) },
          { head: 'CLUSTER', value: (row) => row.cluster, optional: true },
          { head: 'RULE', value: (row) => row.rule, most: 40 },
          { head: 'SEVERITY', value: (row) => row.severity },
          { head: 'WHAT', value: (row) => row.message, flexible: true },
        ]);
      if (alerts.length > SHOWN) context.out(`... ${alerts.length - SHOWN} more: -o json, -o csv\n`);
      for (const one of summary.rules)
        context.out(
          `${safe(one.rule)}: ${one.notTested ? `not tested: ${one.notTested}` : `${one.alerts} alerts of ${one.matches} matches`}\n`,
        );
      context.out(`${summary.rows} events, changes and verdicts were looked at one by one\n`);
    }
    if (summary.archived) {
      const { before, classes } = summary.archived;
      context.err(
        `not looked at: events before ${before} that lie in the archive (${classes.map(safe).join(', ')})\n`,
      );
    }
    if (flags.exitCode && alerts.length > 0) process.exitCode = EXIT.nothing;
  });
}

/** A file with those that it names; a file of Sigma's or Falco's rules is named by one that is made up for it. */
function bodyOf(file: string): { text: string; name: string; files: Record<string, string> } {
  const text = readText(file);
  const [first] = documentsOf(text);
  if (!isOwn(first)) {
    const kind = Array.isArray(first) ? 'falco' : 'sigma';
    return { text: `${kind}: [rules]`, name: file, files: { rules: text } };
  }
  const { sigma, falco } = namedFiles(first);
  const other = besideFile(file, readText);
  return {
    text,
    name: file,
    files: Object.fromEntries([...sigma, ...falco].map((name) => [name, other(name)])),
  };
}
