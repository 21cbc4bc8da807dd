import { WhochangedError } from '../core/errors.js';
import { readConfig } from './config.js';
import { boundHeapGrowth } from './heap-growth.js';
import { createLogger } from './log.js';
import { start } from './start.js';

/** `--roles ingest,api` says the same as WHOCHANGED_ROLES. */
function environmentWithFlags(argv: string[]): NodeJS.ProcessEnv {
  const at = argv.indexOf('--roles');
  const roles =
    at >= 0 ? argv[at + 1] : argv.find((word) => word.startsWith('--roles='))?.slice('--roles='.length);
  return roles === undefined ? process.env : { ...process.env, WHOCHANGED_ROLES: roles };
}

function fail(error: unknown): never {
  const hint = error instanceof WhochangedError && error.hint ? `\n${error.hint}` : '';
  process.stderr.write(`whochanged: ${(error as Error).message}${hint}\n`);
  process.exit(1);
}

try {
  const config = readConfig(environmentWithFlags(process.argv.slice(2)));
  const log = createLogger(config.logLevel);
  boundHeapGrowth(config.heapGrowthPercent);
  const system = await start(config, log, fail, (text) => process.stdout.write(text));
  let stopping = false;
  const stop = (signal: string) => {
    if (stopping) process.exit(1);
    stopping = true;
    log.info({ signal }, 'stopping; once more to stop at once');
    system.stop().then(() => process.exit(0), fail);
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop(signal));
} catch (error) {
  fail(error);
}
