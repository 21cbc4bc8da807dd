import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');
const SOURCES = ['api', 'core', 'ingest', 'jobs', 'main', 'migrations', 'store'];
/** Only a ceiling: a machine that is busy with other things takes its time. */
const START_MS = 120_000;

export interface RunningSystem {
  child: ChildProcess;
  http: string;
  https: string;
  /** Everything it has written so far. */
  output(): string;
  stop(): Promise<void>;
  kill(): Promise<void>;
}

let built: boolean | undefined;

/** Whether what is built is newer than all that it was built from: it starts in half the time. */
function isBuilt(): boolean {
  built ??= newerThanSources(join(ROOT, 'dist/main/main.js'));
  return built;
}

function newerThanSources(program: string): boolean {
  if (!existsSync(program)) return false;
  const { mtimeMs } = statSync(program);
  return SOURCES.every((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).every(
      (file) => statSync(join(ROOT, folder, file)).mtimeMs <= mtimeMs,
    ),
  );
}

/** Starts the real program in a process of its own, on free ports, and waits until it serves. */
export async function startSystem(
  dataDir: string,
  environment: Record<string, string> = {},
  from: 'sources' | 'build' = isBuilt() ? 'build' : 'sources',
): Promise<RunningSystem> {
  const program =
    from === 'build' ? [join(ROOT, 'dist/main/main.js')] : ['--import', 'tsx', join(ROOT, 'main/main.ts')];
  const child = spawn(process.execPath, program, {
    cwd: ROOT,
    env: {
      ...process.env,
      WHOCHANGED_DATA_DIR: dataDir,
      WHOCHANGED_HTTP_PORT: '0',
      WHOCHANGED_HTTPS_PORT: '0',
      WHOCHANGED_HTTPS_HOST: '127.0.0.1',
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  const exited = new Promise<void>((done) => child.once('exit', () => done()));
  const until = Date.now() + START_MS;
  while (!/whochanged is up/.test(output)) {
    if (child.exitCode !== null || Date.now() > until) {
      child.kill('SIGKILL');
      throw new Error(`whochanged did not start:\n${output}`);
    }
    await new Promise((done) => setTimeout(done, 50));
  }
  const http = /listening at (http:\/\/127\.0\.0\.1:\d+)/.exec(output)![1]!;
  const https = /listening at (https:\/\/127\.0\.0\.1:\d+)/.exec(output)![1]!;
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await exited;
  };
  return { child, http, https, output: () => output, stop: () => end('SIGTERM'), kill: () => end('SIGKILL') };
}

/** The first source's token, from the kubeconfig of the first start. */
export async function webhookToken(dataDir: string): Promise<string> {
  return /token: (\S+)/.exec(await readFile(join(dataDir, 'webhook-kubeconfig.yaml'), 'utf8'))![1]!;
}
