import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { programArguments } from './program.js';

const ROOT = resolve(import.meta.dirname, '../..');
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

/** Starts the real program in a process of its own, on free ports, and waits until it serves. */
export async function startSystem(
  dataDir: string,
  environment: Record<string, string> = {},
  from?: 'sources' | 'build',
  flags: string[] = [],
): Promise<RunningSystem> {
  const child = spawn(process.execPath, [...programArguments('main/main', from), ...flags], {
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
