import { writeFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { collect, createContext, type GlobalFlags, timeOption, wholeNumber } from '../context.js';
import { examples } from '../examples.js';
import { CliError, EXIT } from '../exit.js';
import { writeTable } from './lists.js';

interface ReportFlags extends GlobalFlags {
  cluster?: string[];
  environment?: string[];
  since?: string;
  until?: string;
  seed?: string;
  sample: number;
  format: 'html' | 'json' | 'ndjson';
  file?: string;
}

interface Control {
  id: string;
  framework: string;
  reference: string;
  statement: string;
}

/** Reports for auditors: evidence for a control over a time. */
export function reportCommands(program: Command): void {
  controlsCommand(program);
  reportCommand(program);
}

function controlsCommand(program: Command): void {
  const command = program.command('controls').description('the controls that a report can be made for');
  examples(command, [['controls', 'SOC 2, PCI DSS, ISO 27001, NIST 800-53, CIS']]).action(
    async (_flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>());
      const { items } = await context.client.get<{ items: Control[] }>('/v1/reports');
      writeTable(context, items, [
        { head: 'CONTROL', value: ({ id }) => id },
        { head: 'FRAMEWORK', value: ({ framework, reference }) => `${framework} ${reference}` },
        { head: 'ASKS FOR', value: ({ statement }) => statement, flexible: true },
      ]);
    },
  );
}

function reportCommand(program: Command): void {
  const command = program
    .command('report')
    .description('evidence for a control over a time, for auditors')
    .argument('<CONTROL>', 'soc2-cc8.1, pci-6.5.1, ...: see `controls`')
    .option('--cluster <cluster>', 'only this cluster (may be repeated)', collect)
    .option('--environment <name>', 'as the policy names it (may be repeated)', collect)
    .option('--since <time>', 'RFC 3339, or 90d ago; needed', timeOption('--since'))
    .option('--until <time>', 'not included (default: now)', timeOption('--until'))
    .option('--seed <text>', 'of the sample; the same seed draws the same')
    .option('--sample <n>', 'how many to draw', wholeNumber('--sample', 0, 1000), 25)
    .addOption(
      new Option('--format <format>', 'what to write').choices(['html', 'json', 'ndjson']).default('html'),
    )
    .option('--file <file>', 'write it there');
  examples(command, [
    [
      'report soc2-cc8.1 --environment production --since 90d --file q3.html',
      'every production change of a quarter',
    ],
    ['report pci-10.2 --since 30d --format ndjson', 'who read Secrets'],
  ]).action(async (control: string, _flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<ReportFlags>();
    const { cluster, environment, since, seed, sample, format, file } = flags;
    if (since === undefined)
      throw new CliError(EXIT.usage, 'a report has a period: --since is missing', 'add --since 90d');
    const until = flags.until ?? new Date().toISOString();
    const context = createContext(flags, 'one');
    const query = { cluster, environment, since, until, seed, sample: String(sample), format };
    const chunks: Buffer[] = [];
    for await (const chunk of context.client.stream(`/v1/reports/${encodeURIComponent(control)}`, query))
      chunks.push(Buffer.from(chunk));
    const body = Buffer.concat(chunks);
    if (file === undefined) context.out(body.toString('utf8'));
    else {
      await writeFile(file, body);
      context.err(`written to ${file}\n`);
    }
  });
}
