import { Command, CommanderError } from 'commander';
import { accessEventsCommand } from './commands/access-events.js';
import { alertCommands } from './commands/alerts.js';
import { approvalCommands } from './commands/approvals.js';
import { auditPolicyCommand } from './commands/audit-policy.js';
import { backfillCommand } from './commands/backfill.js';
import { changesCommand } from './commands/changes.js';
import { commitCommand } from './commands/commit.js';
import { completenessCommands } from './commands/completeness.js';
import { driftCommands } from './commands/drift.js';
import { eraseCommand } from './commands/erase.js';
import { gateCommands } from './commands/gate.js';
import { holdCommands } from './commands/holds.js';
import { hostCommands } from './commands/hosts.js';
import { identityCommands } from './commands/identities.js';
import { importCommand } from './commands/import.js';
import { listCommands } from './commands/lists.js';
import { logCommands } from './commands/log.js';
import { objectCommands } from './commands/objects.js';
import { policyCommands } from './commands/policy.js';
import { pullRequestCommand } from './commands/pull-request.js';
import { quarantineCommands } from './commands/quarantine.js';
import { reportCommands } from './commands/report.js';
import { repoCommands } from './commands/repos.js';
import { retentionCommand } from './commands/retention.js';
import { rollbackCommand } from './commands/rollback.js';
import { sourceCommands } from './commands/sources.js';
import { statusCommand } from './commands/status.js';
import { tailCommand } from './commands/tail.js';
import { ticketCommands } from './commands/tickets.js';
import { tokenCommands } from './commands/tokens.js';
import { verdictCommands } from './commands/verdicts.js';
import { verifyCommand } from './commands/verify.js';
import { whoamiCommand } from './commands/whoami.js';
import { examples } from './examples.js';
import { CliError, EXIT } from './exit.js';
import { safe } from './render/text.js';

/** A command and what it takes, without its options, so that room is left to say what it is for. */
function subcommandTerm(command: Command): string {
  const words = command.registeredArguments.map((argument) => {
    const name = `${argument.name()}${argument.variadic ? '...' : ''}`;
    return argument.required ? `<${name}>` : `[${name}]`;
  });
  return [command.name(), ...words].join(' ');
}

/** The command line, under the name it was called by. */
export function createProgram(name: string, version: string): Command {
  const program = new Command(name)
    .description('Who changed what in your Kubernetes clusters, when and how.')
    .version(version)
    .option('--url <url>', 'the API (WHOCHANGED_URL; default http://127.0.0.1:8080)')
    .option(
      '--token-file <file>',
      'the token (WHOCHANGED_TOKEN, WHOCHANGED_TOKEN_FILE, ~/.config/whochanged/token, ./data/admin-token)',
    )
    .option('--ca-file <file>', 'the CA of an https URL (WHOCHANGED_CA_FILE)')
    .option('--cert-file <file>', 'a client certificate (WHOCHANGED_CERT_FILE)')
    .option('--key-file <file>', 'its key (WHOCHANGED_KEY_FILE)')
    .option('-o, --output <format>', 'table, wide, json, yaml, csv, ndjson or name', 'table')
    .option('--utc', 'times in UTC, not local')
    .exitOverride()
    .configureHelp({ showGlobalOptions: true, subcommandTerm })
    .showHelpAfterError('(add --help for what it takes)');
  examples(program, [
    ['--since 30m -n prod', 'what changed in prod in the last 30 minutes'],
    ['deploy/web -n prod --since 2h', 'who changed this Deployment'],
    ['show deploy/web -n prod --at 2h', 'what it looked like two hours ago'],
    ['rollback deploy/web -n prod --to 2h', 'that state again, as a manifest to apply'],
  ]);
  changesCommand(program);
  tailCommand(program);
  objectCommands(program);
  rollbackCommand(program);
  listCommands(program);
  statusCommand(program);
  completenessCommands(program);
  verdictCommands(program);
  driftCommands(program);
  policyCommands(program);
  sourceCommands(program);
  auditPolicyCommand(program);
  backfillCommand(program);
  importCommand(program);
  tokenCommands(program);
  whoamiCommand(program);
  accessEventsCommand(program);
  quarantineCommands(program);
  repoCommands(program);
  commitCommand(program);
  pullRequestCommand(program);
  ticketCommands(program);
  approvalCommands(program);
  hostCommands(program);
  alertCommands(program);
  verifyCommand(program);
  gateCommands(program);
  identityCommands(program);
  logCommands(program);
  reportCommands(program);
  holdCommands(program);
  eraseCommand(program);
  retentionCommand(program);
  return program;
}

/** `-n=prod` as kubectl takes it; commander would take `=prod` for the value. */
function withoutEquals(word: string): string {
  return word.replace(/^(-[a-zA-Z])=/, '$1');
}

/** Runs a command line and sets the exit code; says on stderr what is wrong, and on the next line what to do. */
export async function run(program: Command, argv: string[]): Promise<void> {
  // `| head` closes our stdout: that is its right, and no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(EXIT.ok);
    throw error;
  });
  try {
    await program.parseAsync(argv.map(withoutEquals));
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
      return;
    }
    const known =
      error instanceof CliError
        ? error
        : new CliError(
            EXIT.failed,
            `internal error: ${(error as Error).message}`,
            'this should not happen: please report it, with the command line',
          );
    const lines = `${program.name()}: ${known.message}\n${known.hint ?? ''}`.trimEnd().split('\n');
    process.stderr.write(lines.map((line) => `${safe(line)}\n`).join(''));
    process.exitCode = known.exitCode;
  }
}
