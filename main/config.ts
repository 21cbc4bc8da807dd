import { isIP } from 'node:net';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { WhochangedError } from '../core/errors.js';
import { GIT_PROTOCOLS, type GitProtocol } from '../core/git/repo-url.js';
import { type IdentityConfig, readIdentityConfig } from './identity-config.js';
import { type RetentionConfig, readRetentionConfig } from './retention-config.js';
import { readVariablesFile, VariableReader } from './variables.js';

export const SYSTEM_ROLES = ['ingest', 'api', 'jobs'] as const;
export type SystemRole = (typeof SYSTEM_ROLES)[number];

export interface Config {
  dataDir: string;
  roles: SystemRole[];
  http: { host: string; port: number };
  /** `hostnames`: DNS names and IP addresses our own certificate is for, besides those of this machine. */
  https: {
    host: string;
    port: number;
    certFile: string | undefined;
    keyFile: string | undefined;
    hostnames: string[];
  };
  /** Base URL under which apiservers reach the HTTPS listener. */
  publicURL: string;
  database: { url: string | undefined; poolSize: number };
  redaction: { keyFile: string; rulesFile: string | undefined };
  /** The proof log: its name, and the key that signs its checkpoints. */
  log: { origin: string; keyFile: string };
  spool: { dir: string; maxBytes: number };
  ingest: {
    maxBodyBytes: number;
    maxItemBytes: number;
    maxInFlightBytes: number;
    maxWaitMs: number;
    bodyCacheBytes: number;
    /** Threads that decode and redact; 0: the main one does. */
    threads: number;
  };
  /** Where credential references may lead (jobs/credentials.ts). */
  credentialsDir: string;
  git: {
    /** Mirrors of repositories. */
    dir: string;
    protocols: GitProtocol[];
    fetchSeconds: number;
    timeoutSeconds: number;
    allowedSignersFile: string | undefined;
    keyringFile: string | undefined;
    /** Programs that make manifests of what lies in repositories; those left out are looked for on the PATH. */
    programs: { kustomize: string | undefined; helm: string | undefined };
  };
  /** Seconds between two looks at a repository's host; webhooks make one at once. */
  hostSyncSeconds: number;
  /** The secrets of webhooks. */
  hooksFile: string | undefined;
  identitiesFile: string | undefined;
  /** The longest that deciding about an admission request may take. */
  gateDeadlineMs: number;
  /** What changes are held to. */
  policyFile: string | undefined;
  /** What reports are delivered where; undefined: none. */
  reportsFile: string | undefined;
  /** Rules and receivers of alerts; undefined: nothing is alerted. */
  alertsFile: string | undefined;
  s3: {
    concurrency: number;
    maxInFlightBytes: number;
    leaseSeconds: number;
    listSeconds: number;
    fullListSeconds: number;
    listPageKeys: number;
    /** The same as `heapGrowthPercent`, while objects are read. */
    heapGrowthPercent: number;
  };
  identity: IdentityConfig;
  retention: RetentionConfig;
  limits: { requestsPerMinute: number; failedLoginsPerMinute: number };
  timeouts: { headersSeconds: number; bodySeconds: number; stalledSeconds: number };
  /** How far V8's heap may grow before garbage is looked for (main/heap-growth.ts). */
  heapGrowthPercent: number;
  logLevel: string;
}

const MIB = 1024 * 1024;
const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];
const DNS_NAME = /^(\*\.)?[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/i;

/**
 * Reads the configuration once. Every variable can also stand in the YAML file named by WHOCHANGED_CONFIG, under its
 * own name; the environment wins.
 * @throws WhochangedError listing every problem with its variable and what to write instead
 */
export function readConfig(environment: NodeJS.ProcessEnv): Config {
  const problems: string[] = [];
  const path = environment.WHOCHANGED_CONFIG;
  const file = path ? readVariablesFile(path, problems) : {};
  const set = Object.fromEntries(Object.entries(environment).filter(([, value]) => value));
  const reader = new VariableReader({ ...file, ...set }, problems);

  const dataDir = resolve(reader.text('WHOCHANGED_DATA_DIR', './data'));
  const http = {
    host: reader.text('WHOCHANGED_HTTP_HOST', '127.0.0.1'),
    port: reader.integer('WHOCHANGED_HTTP_PORT', 8080, 0, 65_535),
  };
  const https = {
    host: reader.text('WHOCHANGED_HTTPS_HOST', '0.0.0.0'),
    port: reader.integer('WHOCHANGED_HTTPS_PORT', 8443, 0, 65_535),
    certFile: reader.file('WHOCHANGED_TLS_CERT_FILE'),
    keyFile: reader.file('WHOCHANGED_TLS_KEY_FILE'),
    hostnames: reader.list('WHOCHANGED_TLS_HOSTNAMES'),
  };
  const publicURL = reader.url(
    'WHOCHANGED_PUBLIC_URL',
    ['https:'],
    `https://127.0.0.1:${https.port}`,
    'https://audit.example.com:8443',
  );
  // An apiserver that calls us by this name must find it in the certificate.
  const publicHost = new URL(publicURL).hostname.replace(/^\[|\]$/g, '');
  if (!https.hostnames.includes(publicHost)) https.hostnames.push(publicHost);
  const config: Config = {
    dataDir,
    roles: reader.words('WHOCHANGED_ROLES', SYSTEM_ROLES),
    http,
    https,
    publicURL,
    database: {
      url: reader.url(
        'DATABASE_URL',
        ['postgres:', 'postgresql:'],
        undefined,
        'postgres://whochanged:PASSWORD@db.example.com/whochanged',
      ),
      poolSize: reader.integer('WHOCHANGED_DATABASE_POOL', 10, 2, 200),
    },
    redaction: {
      keyFile: resolve(reader.text('WHOCHANGED_REDACTION_KEY_FILE', join(dataDir, 'keys', 'redaction.key'))),
      rulesFile: reader.file('WHOCHANGED_REDACTION_RULES_FILE'),
    },
    log: {
      origin: reader.text('WHOCHANGED_LOG_ORIGIN', `${publicHost}/whochanged`),
      keyFile: resolve(reader.text('WHOCHANGED_LOG_KEY_FILE', join(dataDir, 'keys', 'log.key'))),
    },
    spool: {
      dir: resolve(reader.text('WHOCHANGED_SPOOL_DIR', join(dataDir, 'spool'))),
      maxBytes: reader.integer('WHOCHANGED_SPOOL_MAX_BYTES', 4096 * MIB, MIB, Number.MAX_SAFE_INTEGER),
    },
    ingest: {
      maxBodyBytes: reader.integer(
        'WHOCHANGED_INGEST_MAX_BODY_BYTES',
        1024 * MIB,
        1024,
        Number.MAX_SAFE_INTEGER,
      ),
      maxItemBytes: reader.integer('WHOCHANGED_INGEST_MAX_EVENT_BYTES', 16 * MIB, 1024, 512 * MIB),
      maxInFlightBytes: reader.integer('WHOCHANGED_INGEST_MAX_IN_FLIGHT_BYTES', 24 * MIB, MIB, 4096 * MIB),
      maxWaitMs: reader.integer('WHOCHANGED_INGEST_MAX_WAIT_MS', 15_000, 0, 600_000),
      bodyCacheBytes: reader.integer('WHOCHANGED_INGEST_BODY_CACHE_BYTES', 8 * MIB, 0, 4096 * MIB),
      threads: reader.integer('WHOCHANGED_INGEST_THREADS', availableParallelism() > 1 ? 1 : 0, 0, 32),
    },
    credentialsDir: resolve(reader.text('WHOCHANGED_CREDENTIALS_DIR', join(dataDir, 'credentials'))),
    git: {
      dir: resolve(reader.text('WHOCHANGED_GIT_DIR', join(dataDir, 'git'))),
      protocols: reader.words('WHOCHANGED_GIT_PROTOCOLS', GIT_PROTOCOLS, ['https', 'ssh']),
      fetchSeconds: reader.integer('WHOCHANGED_GIT_FETCH_SECONDS', 60, 1, 86_400),
      timeoutSeconds: reader.integer('WHOCHANGED_GIT_TIMEOUT_SECONDS', 3600, 10, 86_400),
      allowedSignersFile: reader.file('WHOCHANGED_GIT_ALLOWED_SIGNERS_FILE'),
      keyringFile: reader.file('WHOCHANGED_GIT_KEYRING_FILE'),
      programs: {
        kustomize: reader.file('WHOCHANGED_KUSTOMIZE_FILE'),
        helm: reader.file('WHOCHANGED_HELM_FILE'),
      },
    },
    hostSyncSeconds: reader.integer('WHOCHANGED_HOST_SYNC_SECONDS', 300, 10, 86_400),
    hooksFile: reader.file('WHOCHANGED_HOOKS_FILE'),
    identitiesFile: reader.file('WHOCHANGED_IDENTITIES_FILE'),
    gateDeadlineMs: reader.integer('WHOCHANGED_GATE_DEADLINE_MS', 1000, 10, 25_000),
    policyFile: reader.file('WHOCHANGED_POLICY_FILE'),
    alertsFile: reader.file('WHOCHANGED_ALERTS_FILE'),
    reportsFile: reader.file('WHOCHANGED_REPORTS_FILE'),
    s3: {
      concurrency: reader.integer('WHOCHANGED_S3_CONCURRENCY', 8, 1, 256),
      maxInFlightBytes: reader.integer('WHOCHANGED_S3_MAX_IN_FLIGHT_BYTES', 8 * MIB, MIB, 4096 * MIB),
      leaseSeconds: reader.integer('WHOCHANGED_S3_LEASE_SECONDS', 60, 3, 3600),
      listSeconds: reader.integer('WHOCHANGED_S3_LIST_SECONDS', 60, 1, 86_400),
      fullListSeconds: reader.integer('WHOCHANGED_S3_FULL_LIST_SECONDS', 86_400, 1, 30 * 86_400),
      listPageKeys: reader.integer('WHOCHANGED_S3_LIST_PAGE_KEYS', 1000, 1, 1000),
      heapGrowthPercent: reader.integer('WHOCHANGED_S3_HEAP_GROWTH_PERCENT', 15, 0, 1000),
    },
    identity: readIdentityConfig(reader, problems),
    retention: readRetentionConfig(reader, problems),
    limits: {
      requestsPerMinute: reader.integer('WHOCHANGED_API_REQUESTS_PER_MINUTE', 1200, 1, 1_000_000),
      failedLoginsPerMinute: reader.integer('WHOCHANGED_API_FAILED_LOGINS_PER_MINUTE', 60, 1, 1_000_000),
    },
    timeouts: {
      headersSeconds: reader.integer('WHOCHANGED_HEADERS_TIMEOUT_SECONDS', 20, 1, 600),
      bodySeconds: reader.integer('WHOCHANGED_BODY_TIMEOUT_SECONDS', 300, 1, 86_400),
      stalledSeconds: reader.integer('WHOCHANGED_STALLED_TIMEOUT_SECONDS', 60, 1, 86_400),
    },
    heapGrowthPercent: reader.integer('WHOCHANGED_HEAP_GROWTH_PERCENT', 100, 0, 1000),
    logLevel: reader.oneOf('WHOCHANGED_LOG_LEVEL', 'info', LOG_LEVELS),
  };

  if (
    !isLoopback(http.host) &&
    reader.oneOf('WHOCHANGED_HTTP_ALLOW_REMOTE', 'false', ['true', 'false']) !== 'true'
  ) {
    problems.push(
      `WHOCHANGED_HTTP_HOST: ${http.host} is not a loopback address such as 127.0.0.1, and plain HTTP would carry tokens in the clear; use the HTTPS port, or set WHOCHANGED_HTTP_ALLOW_REMOTE=true behind a TLS proxy`,
    );
  }
  if (http.port === https.port && http.port !== 0) {
    problems.push(
      `WHOCHANGED_HTTP_PORT and WHOCHANGED_HTTPS_PORT: both are ${http.port}; give each its own, such as 8080 and 8443`,
    );
  }
  if ((https.certFile === undefined) !== (https.keyFile === undefined)) {
    problems.push(
      'WHOCHANGED_TLS_CERT_FILE and WHOCHANGED_TLS_KEY_FILE: only one is set; set both, such as /tls/tls.crt and /tls/tls.key, or neither',
    );
  }
  if (/[\s+]/.test(config.log.origin)) {
    problems.push(
      `WHOCHANGED_LOG_ORIGIN: "${config.log.origin}" holds white space or a plus; write a name such as audit.example.com/whochanged`,
    );
  }
  if (Boolean(environment.AWS_ACCESS_KEY_ID) !== Boolean(environment.AWS_SECRET_ACCESS_KEY)) {
    problems.push(
      'AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: only one is set; set both, or neither to use a profile or a role',
    );
  }
  for (const name of https.hostnames) {
    if (!isIP(name) && !DNS_NAME.test(name))
      problems.push(
        `WHOCHANGED_TLS_HOSTNAMES: "${name}" is neither a DNS name nor an IP address, such as audit.example.com,10.0.0.5`,
      );
  }
  for (const name of Object.keys(file)) {
    if (!reader.asked.has(name))
      problems.push(
        `${name} in ${path}: there is no such variable; those there are: ${[...reader.asked].sort().join(', ')}`,
      );
  }
  if (problems.length > 0) {
    const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`;
    throw new WhochangedError(
      'invalid_request',
      `the configuration has ${count}:\n  ${problems.join('\n  ')}`,
      {
        hint: 'see docs/configuration.md for every variable',
      },
    );
  }
  return config;
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}
