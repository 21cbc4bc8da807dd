import type { Command } from 'commander';
import { createContext, type GlobalFlags } from '../context.js';
import { examples } from '../examples.js';
import { CliError, EXIT } from '../exit.js';
import { readRulesFile } from '../rules-file.js';
import { readText } from './identities.js';
import { writeTable } from './lists.js';

export function alertCommands(program: Command): void {
  const alert = program.command('alert').description('rules for alerts');
  examples(alert, [['alert check rules.yaml', 'which rules can be used?']]);
  const check = alert
    .command('check')
    .description('which rules of Sigma and Falco can be used; asks no server')
    .argument('<FILE...>', 'rules of product kubernetes, or of source k8s_audit');
  examples(check, [
    ['alert check k8s_audit_rules.yaml', 'and what the others have that is not supported'],
  ]).action((files: string[], _flags: unknown, called: Command) => {
    const context = createContext(called.optsWithGlobals<GlobalFlags>());
    const rows: Array<{ name: string; file: string; format: string; severity: string; problem: string }> = [];
    for (const file of files) {
      const { rules, problems } = readRulesFile(readText(file));
      for (const rule of rules) rows.push({ ...rule, file, problem: '' });
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
