import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const MIB = 1024 * 1024;
const LIMITS = { timeoutMs: 30_000, mostBytes: 32 * MIB };
/** Nothing listens on the discard port: what a program would fetch, it can't. */
const NOWHERE = 'http://127.0.0.1:9';

/** Where programs are; one that is left out is looked for on the PATH. */
export interface ProgramPaths {
  kustomize?: string | undefined;
  helm?: string | undefined;
}

/** A program that makes manifests, as it was found. */
export interface Program {
  path: string;
  /** What comes before what is to be built. */
  build: readonly string[];
  /** Such as `helm v3.16.2`. */
  name: string;
  limits: RenderLimits;
  /** Whether it can be kept from reading the schemas of charts, which may name URLs that it would fetch. */
  skipsSchemas?: boolean;
}

/** How long a program may take, and how much it may answer. */
export type RenderLimits = typeof LIMITS;

/** Finds kustomize and helm, each once. */
export class RenderPrograms {
  readonly #paths: ProgramPaths;
  readonly #limits: RenderLimits;
  #kustomize: Promise<Program | undefined> | undefined;
  #helm: Promise<Program | undefined> | undefined;

  /** @param limits tests shorten them */
  constructor(paths: ProgramPaths = {}, limits: RenderLimits = LIMITS) {
    this.#paths = paths;
    this.#limits = limits;
  }

  /** `kustomize build`, else `kubectl kustomize`. */
  kustomize(): Promise<Program | undefined> {
    this.#kustomize ??= findKustomize(this.#paths.kustomize, this.#limits);
    return this.#kustomize;
  }

  /** Helm 3 or later. */
  helm(): Promise<Program | undefined> {
    this.#helm ??= findHelm(this.#paths.helm ?? 'helm', this.#limits);
    return this.#helm;
  }
}

async function findKustomize(path: string | undefined, limits: RenderLimits): Promise<Program | undefined> {
  const kustomize = path ?? 'kustomize';
  const own = await say(kustomize, ['version']);
  if (own !== undefined)
    return { path: kustomize, build: ['build'], name: `kustomize ${versionIn(own)}`, limits };
  if (path !== undefined) return undefined;
  const kubectl = await say('kubectl', ['version', '--client']);
  return kubectl === undefined
    ? undefined
    : { path: 'kubectl', build: ['kustomize'], name: `kubectl ${versionIn(kubectl)}`, limits };
}

async function findHelm(path: string, limits: RenderLimits): Promise<Program | undefined> {
  const said = await say(path, ['version', '--short']);
  const version = said === undefined ? '' : versionIn(said);
  if (!/^v([3-9]|\d{2,})\./.test(version)) return undefined;
  const flags = (await say(path, ['template', '--help'])) ?? '';
  return {
    path,
    build: ['template'],
    name: `helm ${version}`,
    limits,
    skipsSchemas: flags.includes('--skip-schema-validation'),
  };
}

function versionIn(said: string): string {
  return /v\d+\.\d+\.\d+[-.\w]*/.exec(said)?.[0] ?? 'of no known version';
}

async function say(path: string, args: readonly string[]): Promise<string | undefined> {
  const environment = { PATH: process.env.PATH ?? '', HOME: '/nonexistent' };
  const said = await run(path, [...args], { timeout: LIMITS.timeoutMs, env: environment }).catch(
    () => undefined,
  );
  return said?.stdout;
}

/** How a program ended that made nothing. */
export interface ProgramFailure {
  reason: 'timeout' | 'too_much' | 'failed';
  /** What it said of it: it may repeat what it read. */
  stderr: string;
}

/**
 * Runs a program in a folder that is its whole world: no settings, plugins, clusters or credentials of this machine, no
 * network, 30 s, 32 MiB of answer.
 */
export async function runProgram(
  { path, build, limits }: Program,
  args: readonly string[],
  work: string,
): Promise<{ stdout: string } | ProgramFailure> {
  try {
    const { stdout } = await run(path, [...build, ...args], {
      timeout: limits.timeoutMs,
      killSignal: 'SIGKILL',
      maxBuffer: limits.mostBytes,
      cwd: work,
      env: {
        PATH: process.env.PATH ?? '',
        HOME: work,
        TMPDIR: work,
        KUBECONFIG: '/dev/null',
        HELM_PLUGINS: `${work}/no-plugins`,
        HTTP_PROXY: NOWHERE,
        HTTPS_PROXY: NOWHERE,
        ALL_PROXY: NOWHERE,
        GOMAXPROCS: '1',
        GOMEMLIMIT: '512MiB',
      },
    });
    return { stdout };
  } catch (error) {
    const { code, killed, stderr, message } = error as {
      code?: string | number;
      killed?: boolean;
      stderr?: string;
      message: string;
    };
    const reason =
      code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER' ? 'too_much' : killed === true ? 'timeout' : 'failed';
    return { reason, stderr: String(stderr || message) };
  }
}

/** A failure in words that hold nothing of what the program read; undefined for one that only its own words tell. */
export function failureText({ reason }: ProgramFailure, { limits }: Program): string | undefined {
  if (reason === 'timeout') return `it took longer than ${limits.timeoutMs / 1000} s`;
  return reason === 'too_much' ? `it answered more than ${limits.mostBytes / MIB} MiB` : undefined;
}
