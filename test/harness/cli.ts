import { type ChildProcess, spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { compiledCli } from './compiled-cli.js';

const COMPILED = await compiledCli();

export interface CliResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface CliOptions {
  /** What the command finds in its environment besides PATH. */
  env: Record<string, string>;
  /** Where it runs, and its home. */
  folder: string;
  /** `kubectl-whochanged` is what kubectl runs. */
  program?: 'whochanged' | 'kubectl-whochanged';
}

function scriptOf(program: CliOptions['program'] = 'whochanged'): string {
  return resolve(COMPILED, `cli/${program}.js`);
}

function environmentOf(options: CliOptions): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, HOME: options.folder, TZ: 'UTC', ...options.env };
}

/** Starts the command line in a process of its own, its output in pipes. */
export function startCli(args: string[], options: CliOptions): ChildProcess {
  return spawn(process.execPath, [scriptOf(options.program), ...args], {
    cwd: options.folder,
    env: environmentOf(options),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Runs the command line to its end. */
export async function runCli(args: string[], options: CliOptions): Promise<CliResult> {
  return finish(startCli(args, options));
}

/** Runs a shell's command line, in which `$CLI` and `$PLUGIN` are whochanged and what kubectl runs. */
export async function runShell(script: string, options: CliOptions): Promise<CliResult> {
  const words = (program: CliOptions['program']) => `${process.execPath} ${scriptOf(program)}`;
  const env = { ...environmentOf(options), CLI: words('whochanged'), PLUGIN: words('kubectl-whochanged') };
  return finish(
    spawn('bash', ['-c', script], { cwd: options.folder, env, stdio: ['ignore', 'pipe', 'pipe'] }),
  );
}

async function finish(child: ChildProcess): Promise<CliResult> {
  let stdout = '';
  let stderr = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const code = await new Promise<number | null>((done) => child.once('close', done));
  return { code, stdout, stderr };
}
