import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { describeLedgerVerdict, type LedgerVerdict } from '../../core/log/ledger-verdict.js';
import { createContext, type GlobalFlags, writeStructured } from '../context.js';
import { examples } from '../examples.js';
import { CliError, EXIT } from '../exit.js';
import { safe } from '../render/text.js';

interface Proof {
  index: number;
  file: string;
  /** What the leaf is of; left out for events, which have a route of their own. */
  record?: unknown;
}

interface ProofFlags extends GlobalFlags {
  verdict?: boolean;
  accessEvent?: boolean;
  file?: string;
  record?: string;
}

/** A line of `GET /v1/log/verify`. */
type Line = { records: number } | { problem: string } | { verdict: LedgerVerdict };

/** The proof log: a proof of one record, the newest checkpoint, a check of everything. */
export function logCommands(program: Command): void {
  proofCommand(program);
  checkpointCommand(program);
  verifyCommand(program);
}

function proofCommand(program: Command): void {
  const command = program
    .command('proof')
    .description('proof that a record is in the signed log, as a file that holds by itself')
    .argument('<ID>', 'of a change, or of an event; with --access-event its number')
    .option('--verdict', "of the change's newest verdict instead")
    .option('--access-event', 'of an access event: what `access-events` shows as SEQ')
    .option('--file <file>', 'write it there (c2sp.org/tlog-proof)')
    .option('--record <file>', 'write there what is proven, for `whochanged-verify proof --record`');
  examples(command, [
    ['proof 01a20dc7-40ce-852d-a998-36db9f65fd6a --file change.tlog-proof', 'for an auditor'],
    ['proof 01a20dc7-40ce-852d-a998-36db9f65fd6a > change.tlog-proof', 'the same'],
    [
      'proof 01a20dc7-40ce-852d-a998-36db9f65fd6a --verdict --file v.tlog-proof --record v.json',
      'of its verdict',
    ],
    ['proof 2049 --access-event', 'that somebody looked'],
  ]).action(async (id: string, _flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<ProofFlags>();
    if (flags.verdict && flags.accessEvent)
      throw new CliError(EXIT.usage, '--verdict and --access-event: a proof is of one record');
    const context = createContext(flags, 'one');
    const proof = await context.client.get<Proof>(proofPath(id, flags));
    if (flags.record !== undefined) {
      if (proof.record === undefined)
        throw new CliError(
          EXIT.usage,
          '--record: this proof is of an event',
          '`whochanged event ID --raw` gives it',
        );
      await writeFile(flags.record, `${JSON.stringify(proof.record)}\n`);
    }
    if (flags.file !== undefined) await writeFile(flags.file, proof.file);
    if (!writeStructured(context, proof) && flags.file === undefined) context.out(proof.file);
  });
}

function proofPath(id: string, { verdict, accessEvent }: ProofFlags): string {
  const asked = encodeURIComponent(id);
  if (accessEvent) return `/v1/access-events/${asked}/proof`;
  if (verdict) return `/v1/changes/${asked}/verdict/proof`;
  return `/v1/${/^\d+-[0-9a-f]{64}-\d+$/.test(id) ? 'events' : 'changes'}/${asked}/proof`;
}

function checkpointCommand(program: Command): void {
  const command = program
    .command('checkpoint')
    .description('the newest signed checkpoint of the log: keep it where nobody can alter it');
  examples(command, [['checkpoint > checkpoint-2026-03-02.txt', 'to be kept elsewhere']]).action(
    async (_flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>(), 'file');
      for await (const chunk of context.client.stream('/v1/log/checkpoint', {}))
        context.out(chunk.toString('utf8'));
    },
  );
}

function verifyCommand(program: Command): void {
  const command = program
    .command('verify-log')
    .description('let the server compare every record with the signed log, and name what was altered');
  examples(command, [
    ['verify-log', 'the exit code is 1 where something was altered'],
    ['verify-log -o json', 'for a script'],
  ]).action(async (_flags: unknown, called: Command) => {
    const context = createContext(called.optsWithGlobals<GlobalFlags>(), 'one');
    const problems: string[] = [];
    let verdict: LedgerVerdict | undefined;
    for await (const line of context.client.lines<Line>('/v1/log/verify', {})) {
      if ('verdict' in line) verdict = line.verdict;
      else if ('problem' in line) problems.push(line.problem);
      else if (process.stderr.isTTY) context.err(`\r${line.records} records`);
    }
    if (process.stderr.isTTY) context.err('\n');
    if (!verdict)
      throw new CliError(
        EXIT.failed,
        'the check broke off',
        'look into the log of the server, and try again',
      );
    if (!writeStructured(context, { ...verdict, found: problems })) {
      for (const problem of problems) context.out(`${safe(problem)}\n`);
      context.out(`${describeLedgerVerdict(verdict)}\n`);
      context.err('The server checked itself; whochanged-verify checks without trusting it.\n');
    }
    if (problems.length > 0) process.exitCode = EXIT.nothing;
  });
}
