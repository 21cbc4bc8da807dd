import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { WhochangedError } from '../../core/errors.js';

const DEFAULT_TIMEOUT_MS = 120_000;
const MAX_OUTPUT_BYTES = 256 * 1024 * 1024;
const MAX_ERROR_BYTES = 16 * 1024;
const GRACE_MS = 2000;

/** Settings that hold for every call: nothing of this machine's or the repository's own may run or be read. */
const SAFE_SETTINGS = [
  ['core.hooksPath', '/dev/null'],
  ['core.fsmonitor', 'false'],
  ['core.quotePath', 'false'],
  ['gc.auto', '0'],
  ['fetch.recurseSubmodules', 'false'],
  ['protocol.allow', 'never'],
] as const;

/** What of our environment git may know: how to reach the network, and nothing secret of ours. */
const PASSED_ON = ['PATH', 'TMPDIR', 'TZ', 'SSL_CERT_FILE', 'SSL_CERT_DIR', 'GIT_SSL_CAINFO'];
const PROXIES = [
  'http_proxy',
  'https_proxy',
  'no_proxy',
  'all_proxy',
  'HTTPS_PROXY',
  'NO_PROXY',
  'ALL_PROXY',
];

export interface GitCall {
  /** The repository's folder. */
  folder: string;
  args: readonly string[];
  /** More settings, handed over in the environment, where other users of the machine can't see them. */
  settings?: ReadonlyArray<readonly [name: string, value: string]>;
  environment?: Record<string, string>;
  /** Written to its standard input. */
  input?: string | Buffer;
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
  /** Exit codes that are answers; 0 unless told otherwise. */
  accept?: readonly number[];
}

export interface GitResult {
  code: number;
  stdout: Buffer;
  stderr: string;
}

/** git ended otherwise than it should. `stderr` is what it said, with nothing taken out: it may hold a URL. */
export class GitError extends Error {
  readonly code: number | undefined;
  readonly stderr: string;
  readonly reason: 'failed' | 'timeout' | 'stopped' | 'missing';

  constructor(args: readonly string[], reason: GitError['reason'], code: number | undefined, stderr: string) {
    const said = lastLine(stderr);
    const what = {
      failed: `ended with ${code}${said && `: ${said}`}`,
      timeout: 'took too long and was ended',
      stopped: 'was stopped',
      missing: 'could not be started: the git program is not on the PATH',
    }[reason];
    super(`git ${args[0]} ${what}`);
    this.name = 'GitError';
    this.code = code;
    this.stderr = stderr;
    this.reason = reason;
  }
}

function lastLine(text: string): string {
  const lines = text.trim().split('\n');
  return (lines.findLast((line) => /^(fatal|error):/.test(line)) ?? lines.at(-1) ?? '').slice(0, 500);
}

/** The environment of every git process. */
export function gitEnvironment(
  settings: ReadonlyArray<readonly [string, string]> = [],
  extra: Record<string, string> = {},
): NodeJS.ProcessEnv {
  const environment: NodeJS.ProcessEnv = {
    LC_ALL: 'C',
    GIT_TERMINAL_PROMPT: '0',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_OPTIONAL_LOCKS: '0',
    GIT_NO_REPLACE_OBJECTS: '1',
    GIT_ASKPASS: '/bin/false',
    SSH_ASKPASS: '/bin/false',
    HOME: '/nonexistent',
    ...extra,
  };
  for (const name of [...PASSED_ON, ...PROXIES])
    if (process.env[name] !== undefined) environment[name] ??= process.env[name];
  const all = [...SAFE_SETTINGS, ...settings];
  environment.GIT_CONFIG_COUNT = String(all.length);
  for (const [i, [name, value]] of all.entries()) {
    environment[`GIT_CONFIG_KEY_${i}`] = name;
    environment[`GIT_CONFIG_VALUE_${i}`] = value;
  }
  return environment;
}

/** Starts git with arguments of its own, never through a shell, in a group of its own so that all of it can be ended. */
export function startGit(call: Pick<GitCall, 'folder' | 'args' | 'settings' | 'environment'>) {
  return spawn('git', ['--git-dir', call.folder, ...call.args], {
    env: gitEnvironment(call.settings, call.environment),
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  });
}

/** Ends git and what it started, such as ssh. */
export function endGit(child: ChildProcessWithoutNullStreams): void {
  const kill = (signal: NodeJS.Signals) => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, signal);
    } catch {
      // It has ended.
    }
  };
  kill('SIGTERM');
  setTimeout(() => child.exitCode === null && child.signalCode === null && kill('SIGKILL'), GRACE_MS).unref();
}

/**
 * Runs git to its end.
 * @throws GitError where it fails, takes longer than `timeoutMs`, or is stopped by `signal`
 */
export async function runGit(call: GitCall): Promise<GitResult> {
  call.signal?.throwIfAborted();
  const child = startGit(call);
  let ended: GitError['reason'] | undefined;
  const stop = (reason: GitError['reason']) => {
    ended ??= reason;
    endGit(child);
  };
  const timer = setTimeout(() => stop('timeout'), call.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  const onAbort = () => stop('stopped');
  call.signal?.addEventListener('abort', onAbort, { once: true });
  const chunks: Buffer[] = [];
  let size = 0;
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size <= MAX_OUTPUT_BYTES) chunks.push(chunk);
    else stop('failed');
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-MAX_ERROR_BYTES);
  });
  // It may end without reading what it is given.
  child.stdin.on('error', () => undefined);
  child.stdin.end(call.input ?? '');
  try {
    const [code] = (await once(child, 'close')) as [number | null];
    if (size > MAX_OUTPUT_BYTES)
      throw new WhochangedError('payload_too_large', `git ${call.args[0]} answered more than 256 MiB`);
    if (ended !== undefined || code === null)
      throw new GitError(call.args, ended ?? 'failed', code ?? undefined, stderr);
    if (!(call.accept ?? [0]).includes(code)) throw new GitError(call.args, 'failed', code, stderr);
    return { code, stdout: Buffer.concat(chunks), stderr };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new GitError(call.args, 'missing', undefined, '');
    throw error;
  } finally {
    clearTimeout(timer);
    call.signal?.removeEventListener('abort', onAbort);
  }
}

/** The same, for an answer that is one text. Trailing line ends are cut. */
export async function gitText(call: GitCall): Promise<string> {
  return (await runGit(call)).stdout.toString('utf8').replace(/\n+$/, '');
}

let version: Promise<string> | undefined;

/** The version of the git program, such as 2.39.5. */
export function gitVersion(): Promise<string> {
  version ??= gitText({ folder: '/nonexistent', args: ['version'] })
    .then((text) => /(\d+\.\d+(\.\d+)?)/.exec(text)?.[1] ?? text)
    .catch((error) => {
      version = undefined;
      throw error;
    });
  return version;
}

/** Whether the git program is at least that new. */
export async function gitIsAtLeast(major: number, minor: number): Promise<boolean> {
  const [ownMajor = 0, ownMinor = 0] = (await gitVersion()).split('.').map(Number);
  return ownMajor > major || (ownMajor === major && ownMinor >= minor);
}
