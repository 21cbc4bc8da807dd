#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import type { DatabaseFlags } from './database.js';
import { readTrustedKeys } from './keys.js';
import { verifyProof } from './proof.js';
import { verifyReport } from './report.js';

/** It holds; something was found; it could not be checked. */
const EXIT = { holds: 0, found: 1, failed: 2 } as const;

const out = (text: string) => void process.stdout.write(`${text}\n`);
const err = (text: string) => void process.stderr.write(`${text}\n`);

function createProgram(): Command {
  const program = new Command('whochanged-verify')
    .description('Checks what whochanged says against its proof log, without trusting the server.')
    .exitOverride()
    .addHelpText(
      'after',
      `
Exit code: 0 it holds, 1 something was altered, 2 it could not be checked.

Examples:
  whochanged-verify proof change.tlog-proof --key-file log.keys
  whochanged-verify report q3/ --key-file log.keys
  whochanged-verify database --database-url postgres://... --key-file log.keys --checkpoints copies/
  whochanged-verify database --key-file log.keys --checkpoints s3://audit-checkpoints/prod/`,
    );
  program
    .command('proof')
    .description('a proof file: the record is in the log that a trusted key has signed')
    .argument('<FILE>', 'what `whochanged proof ID` gave')
    .requiredOption('--key-file <file>', 'trusted keys, one a line')
    .option(
      '--record <file>',
      'the event, as `whochanged event ID --raw` gives it, or the file of `whochanged proof --record`: that the proof is of it',
    )
    .action(async (file: string, flags: { keyFile: string; record?: string }) => {
      const result = await verifyProof(file, await readTrustedKeys(flags.keyFile), flags.record);
      for (const line of result.lines) (result.ok ? out : err)(line);
      out(result.ok ? 'it holds' : 'it does not hold');
      process.exitCode = result.ok ? EXIT.holds : EXIT.found;
    });
  program
    .command('report')
    .description('a report with its proofs: each row that it tells is in the log as it is told')
    .argument('<FOLDER>', 'what `whochanged report --proofs FOLDER` wrote')
    .requiredOption('--key-file <file>', 'trusted keys, one a line')
    .action(async (folder: string, flags: { keyFile: string }) => {
      const { rows, proofs, problems } = await verifyReport(folder, await readTrustedKeys(flags.keyFile));
      for (const problem of problems) err(problem);
      const outcome = problems.length === 0 ? 'it holds' : `${problems.length} problems`;
      out(`${rows} rows, ${proofs} proofs: ${outcome}`);
      process.exitCode = problems.length === 0 ? EXIT.holds : EXIT.found;
    });
  program
    .command('database')
    .description('a whole database: the tree against its checkpoints, every record against its leaf')
    .requiredOption('--key-file <file>', 'trusted keys, one a line')
    .option('--database-url <url>', 'default: DATABASE_URL')
    .option('--checkpoints <place>', 'checkpoints that were kept elsewhere: a folder, or s3://BUCKET/PREFIX/')
    .option('--archive <place>', 'where archived events are read: a folder, or s3://BUCKET/PREFIX/')
    .action(async (flags: DatabaseFlags) => {
      // Postgres' and S3's clients take four times as long to load as all that the others need.
      const { verifyDatabase } = await import('./database.js');
      const result = await verifyDatabase(flags, out);
      process.exitCode = result.problems > 0 ? EXIT.found : result.unchecked > 0 ? EXIT.failed : EXIT.holds;
    });
  return program;
}

try {
  await createProgram().parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.holds : EXIT.failed;
  else {
    err(`whochanged-verify: ${(error as Error).message}`);
    process.exitCode = EXIT.failed;
  }
}
