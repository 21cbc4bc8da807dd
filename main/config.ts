import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parse } from 'yaml';
import { WhochangedError } from '../core/errors.js';

export const SYSTEM_ROLES = ['ingest', 'api', 'jobs'] as const;
export type SystemRole = (typeof SYSTEM_ROLES)[number];

export interface Config {
  dataDir: string;
  roles: SystemRole[];
  http: { host: string; port: number };
  https: { host: string; port: number; certFile: string | undefined; keyFile: string | undefined; hostnames: string[] };
  /** Base URL under which apiservers reach the HTTPS listener. */
  publicURL: string;
  database: { url: string | undefined; poolSize: number };
  redaction: { keyFile: string; rulesFile: string | undefined };
  spool: { dir: string; maxBytes: number };
  ingest: { maxBodyBytes: number; maxItemBytes: number; maxInFlightBytes: number; maxWaitMs: number; bodyCacheBytes: number };
  logLevel: string;
}

const MIB = 1024 * 1024;
const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost']);
const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

/** Variables as found: the environment over the YAML file that WHOCHANGED_CONFIG names. */
type Loose = Record<string, string | undefined>;

/**
 * Reads the configuration once. Every variable can also stand in the YAML file named by WHOCHANGED_CONFIG, under its
 * own name; the environment wins.
 * @throws WhochangedError listing every problem with its variable and what to write instead
 */
export function readConfig(environment: NodeJS.ProcessEnv): Config {
  const problems: string[] = [];
  const loose = gather(environment, problems);
  const reader = new Reader(loose, problems);
  const dataDir = resolve(reader.text('WHOCHANGED_DATA_DIR', './data'));
  const httpsPort = reader.integer('WHOCHANGED_HTTPS_PORT', 8443, 0, 65_535);
  const httpHost = reader.text('WHOCHANGED_HTTP_HOST', '127.0.0.1');
  if (!LOOPBACK.has(httpHost) && !reader.flag('WHOCHANGED_HTTP_ALLOW_REMOTE')) {
    problems.push(
      `WHOCHANGED_HTTP_HOST: ${httpHost} is not loopback, and plain HTTP would carry tokens in the clear; use the HTTPS port, or set WHOCHANGED_HTTP_ALLOW_REMOTE=true behind a TLS proxy`,
    );
  }
  const certFile = loose.WHOCHANGED_TLS_CERT_FILE;
  const keyFile = loose.WHOCHANGED_TLS_KEY_FILE;
  if ((certFile === undefined) !== (keyFile === undefined)) {
    problems.push('WHOCHANGED_TLS_CERT_FILE and WHOCHANGED_TLS_KEY_FILE: set both (PEM files) or neither');
  }
  const config: Config = {
    dataDir,
    roles: reader.words('WHOCHANGED_ROLES', SYSTEM_ROLES),
    http: { host: httpHost, port: reader.integer('WHOCHANGED_HTTP_PORT', 8080, 0, 65_535) },
    https: {
      host: reader.text('WHOCHANGED_HTTPS_HOST', '0.0.0.0'),
      port: httpsPort,
      certFile,
      keyFile,
      hostnames: (loose.WHOCHANGED_TLS_HOSTNAMES ?? '').split(',').map((name) => name.trim()).filter(Boolean),
    },
    publicURL: reader.url('WHOCHANGED_PUBLIC_URL', `https://127.0.0.1:${httpsPort}`, ['https:']),
    database: {
      url: loose.DATABASE_URL === undefined ? undefined : reader.url('DATABASE_URL', '', ['postgres:', 'postgresql:']),
      poolSize: reader.integer('WHOCHANGED_DATABASE_POOL', 10, 2, 200),
    },
    redaction: {
      keyFile: resolve(reader.text('WHOCHANGED_REDACTION_KEY_FILE', join(dataDir, 'keys', 'redaction.key'))),
      rulesFile: loose.WHOCHANGED_REDACTION_RULES_FILE,
    },
    spool: {
      dir: resolve(reader.text('WHOCHANGED_SPOOL_DIR', join(dataDir, 'spool'))),
      maxBytes: reader.integer('WHOCHANGED_SPOOL_MAX_BYTES', 4096 * MIB, MIB, Number.MAX_SAFE_INTEGER),
    },
    ingest: {
      maxBodyBytes: reader.integer('WHOCHANGED_INGEST_MAX_BODY_BYTES', 1024 * MIB, 1024, Number.MAX_SAFE_INTEGER),
      maxItemBytes: reader.integer('WHOCHANGED_INGEST_MAX_EVENT_BYTES', 16 * MIB, 1024, 512 * MIB),
      maxInFlightBytes: reader.integer('WHOCHANGED_INGEST_MAX_IN_FLIGHT_BYTES', 24 * MIB, MIB, 4096 * MIB),
      maxWaitMs: reader.integer('WHOCHANGED_INGEST_MAX_WAIT_MS', 15_000, 0, 600_000),
      bodyCacheBytes: reader.integer('WHOCHANGED_INGEST_BODY_CACHE_BYTES', 24 * MIB, 0, 4096 * MIB),
    },
    logLevel: reader.oneOf('WHOCHANGED_LOG_LEVEL', 'info', LOG_LEVELS),
  };
  if (problems.length > 0) {
    throw new WhochangedError('invalid_request', `the configuration has ${problems.length === 1 ? 'a problem' : `${problems.length} problems`}:\n  ${problems.join('\n  ')}`, {
      hint: 'see docs/configuration.md for every variable',
    });
  }
  return config;
}

function gather(environment: NodeJS.ProcessEnv, problems: string[]): Loose {
  const loose: Loose = {};
  const path = environment.WHOCHANGED_CONFIG;
  if (path) {
    try {
      const file: unknown = parse(readFileSync(path, 'utf8'));
      if (typeof file !== 'object' || file === null || Array.isArray(file)) throw new Error('expected a map of variables');
      for (const [name, value] of Object.entries(file)) {
        if (!isOurs(name)) problems.push(`${name} in ${path}: not a variable of ours`);
        else loose[name] = Array.isArray(value) ? value.join(',') : String(value);
      }
    } catch (error) {
      problems.push(`WHOCHANGED_CONFIG: cannot read ${path}: ${(error as Error).message}`);
    }
  }
  for (const [name, value] of Object.entries(environment)) if (isOurs(name) && value !== undefined && value !== '') loose[name] = value;
  return loose;
}

function isOurs(name: string): boolean {
  return name.startsWith('WHOCHANGED_') || name === 'DATABASE_URL';
}

class Reader {
  readonly #loose: Loose;
  readonly #problems: string[];

  constructor(loose: Loose, problems: string[]) {
    this.#loose = loose;
    this.#problems = problems;
  }

  text(name: string, fallback: string): string {
    return this.#loose[name] ?? fallback;
  }

  flag(name: string): boolean {
    return this.oneOf(name, 'false', ['true', 'false']) === 'true';
  }

  integer(name: string, fallback: number, min: number, max: number): number {
    const text = this.#loose[name];
    if (text === undefined) return fallback;
    const value = Number(text);
    if (Number.isInteger(value) && value >= min && value <= max) return value;
    this.#problems.push(`${name}: expected a whole number from ${min} to ${max}, got "${text}"; the default is ${fallback}`);
    return fallback;
  }

  oneOf(name: string, fallback: string, allowed: readonly string[]): string {
    const text = this.#loose[name] ?? fallback;
    if (allowed.includes(text)) return text;
    this.#problems.push(`${name}: expected one of ${allowed.join(', ')}, got "${text}"`);
    return fallback;
  }

  words<T extends string>(name: string, allowed: readonly T[]): T[] {
    const words = (this.#loose[name] ?? allowed.join(',')).split(',').map((word) => word.trim()).filter(Boolean);
    const unknown = words.filter((word) => !(allowed as readonly string[]).includes(word));
    if (unknown.length > 0 || words.length === 0) {
      this.#problems.push(`${name}: expected some of ${allowed.join(',')}, got "${this.#loose[name]}"`);
    }
    return allowed.filter((word) => words.includes(word));
  }

  url(name: string, fallback: string, protocols: string[]): string {
    const text = this.#loose[name] ?? fallback;
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url && protocols.includes(url.protocol)) return text;
    // The value may hold a password: it is not repeated.
    this.#problems.push(`${name}: expected a URL that begins with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`);
    return fallback;
  }
}
