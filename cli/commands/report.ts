import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Command, Option } from 'commander';
import { printPDF } from '../chromium.js';
import {
  type Context,
  collect,
  createContext,
  type GlobalFlags,
  timeOption,
  wholeNumber,
} from '../context.js';
import { examples } from '../examples.js';
import { CliError, EXIT } from '../exit.js';
import { safe } from '../render/text.js';
import { writeTable } from './lists.js';

const FORMATS = ['html', 'pdf', 'csv', 'json', 'ndjson', 'oscal', 'ocsf'] as const;

interface ReportFlags extends GlobalFlags {
  cluster?: string[];
  environment?: string[];
  since?: string;
  until?: string;
  seed?: string;
  sample: number;
  format: (typeof FORMATS)[number];
  file?: string;
  proofs?: string;
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
      new Option('--format <format>', 'what to write; csv and ocsf are the whole population')
        .choices(FORMATS)
        .default('html'),
    )
    .option('--file <file>', 'write it there; a PDF needs it')
    .option(
      '--proofs <folder>',
      'instead: the report with the proofs of its rows, for `whochanged-verify report`',
    );
  examples(command, [
    [
      'report soc2-cc8.1 --environment production --since 90d --file q3.html',
      'every production change of a quarter',
    ],
    ['report soc2-cc8.1 --since 90d --format pdf --file q3.pdf', 'the same page, printed by Chromium'],
    ['report pci-10.2 --since 30d --format csv', 'who read Secrets'],
    ['report soc2-cc8.1 --since 90d --proofs q3/', 'for an auditor who trusts no server'],
  ]).action(async (control: string, _flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<ReportFlags>();
    const { cluster, environment, since, seed, sample, format, file } = flags;
    if (since === undefined)
      throw new CliError(EXIT.usage, 'a report has a period: --since is missing', 'add --since 90d');
    const until = flags.until ?? new Date().toISOString();
    if (flags.output !== undefined && flags.output !== 'table')
      throw new CliError(
        EXIT.usage,
        `-o ${flags.output}: a report has forms of its own`,
        `use --format: ${FORMATS.join(', ')}`,
      );
    const context = createContext(flags, 'file');
    const path = `/v1/reports/${encodeURIComponent(control)}`;
    const query = { cluster, environment, since, until, seed, sample: String(sample) };
    if (flags.proofs !== undefined) return writeBundle(context, path, query, flags.proofs);
    if (format === 'pdf' && file === undefined)
      throw new CliError(EXIT.usage, 'a PDF is written into a file: --file is missing', 'add --file q3.pdf');
    const chunks: Buffer[] = [];
    const asked = { ...query, format: format === 'pdf' ? 'html' : format };
    for await (const chunk of context.client.stream(path, asked)) chunks.push(Buffer.from(chunk));
    const body = Buffer.concat(chunks);
    if (format === 'pdf') {
      await printPDF(body, file!);
      context.err(`written to ${file}\n`);
    } else if (file === undefined) context.out(body.toString('utf8'));
    else {
      await writeFile(file, body);
      context.err(`written to ${file}\n`);
    }
  });
}

/** A path within a bundle: an id and a name, and nothing that leads out of the folder. */
const BUNDLE_NAME = /^(?:(?:[0-9a-f-]{36}|access-\d{1,15})\/)?[a-z]+\.(?:json|txt|tlog-proof)$/;

async function writeBundle(
  context: Context,
  path: string,
  query: Record<string, string | string[] | undefined>,
  folder: string,
): Promise<void> {
  let files = 0;
  for await (const { name, content } of context.client.lines<{ name: string; content: string }>(path, {
    ...query,
    format: 'proofs',
  })) {
    if (!BUNDLE_NAME.test(name))
      throw new CliError(EXIT.failed, `the server sent a file called ${safe(name)}`);
    const file = join(folder, name);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content);
    files++;
  }
  context.err(
    `${files} files written to ${folder}; whochanged-verify report ${folder} --key-file log.keys\n`,
  );
}
