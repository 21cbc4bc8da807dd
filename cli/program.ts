import { Command, CommanderError } from 'commander';
import { adminCommands } from './commands/admin.js';
import { changesCommand } from './commands/changes.js';
import { listCommands } from './commands/lists.js';
import { objectCommands } from './commands/objects.js';
import { tailCommand } from './commands/tail.js';
import { CliError, EXIT } from './exit.js';

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
    .option('-o, --output <format>', 'table, wide, json, yaml, csv, ndjson or name', 'table')
    .option('--utc', 'times in UTC, not local')
    .exitOverride()
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError('(add --help for what it takes)');
  changesCommand(program);
  tailCommand(program);
  objectCommands(program);
  listCommands(program);
  adminCommands(program);
  return program;
}

/** Runs a command line and sets the exit code; writes errors as two lines on stderr. */
export async function run(program: Command, argv: string[]): Promise<void> {
  // `| head` closes our stdout: that is its right, and no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(EXIT.ok);
    throw error;
  });
  try {
    await program.parseAsync(argv);
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
      return;
    }
    if (!(error instanceof CliError)) throw error;
    process.stderr.write(
      `${program.name()}: ${error.message}\n${error.hint === undefined ? '' : `${error.hint}\n`}`,
    );
    process.exitCode = error.exitCode;
  }
}
