import { createPrivateKey, X509Certificate } from 'node:crypto';
import { watch } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { createSecureContext } from 'node:tls';
import type { Logger } from 'pino';
import { createAuthority, issueCertificate, type KeyPair } from './certificates.js';

const SERVER_DAYS = 365;
const RENEW_BEFORE_MS = 30 * 86_400_000;
const CHECK_MS = 3_600_000;

export interface TlsMaterial {
  current(): KeyPair;
  /** PEM of the authority that an apiserver must trust to reach us. */
  authorityPem: string;
  /** Issues a client certificate from our own authority. */
  issueClient(commonName: string, days: number): Promise<KeyPair>;
  /** Calls back with every new certificate, without a restart. */
  onChange(listener: (pair: KeyPair) => void): void;
  stop(): void;
}

/**
 * The server's certificate: the operator's files, reloaded when they change, or one of our own, renewed a month before
 * it ends. A file that is broken keeps the old certificate in use.
 */
export async function openTls(
  options: { folder: string; certFile: string | undefined; keyFile: string | undefined; hostnames: string[] }, log: Logger,
): Promise<TlsMaterial> {
  const authority = await loadOrCreate(join(options.folder, 'ca'), () => createAuthority(new Date()));
  const listeners: Array<(pair: KeyPair) => void> = [];
  const { certFile, keyFile } = options;
  const operators = certFile !== undefined && keyFile !== undefined;
  const load = operators ? () => readPair(certFile, keyFile) : () => ownServerPair(authority, options);
  let pair = await load();
  createSecureContext({ cert: pair.certificatePem, key: pair.keyPem });

  const reload = async () => {
    try {
      const next = await load();
      if (next.certificatePem === pair.certificatePem && next.keyPem === pair.keyPem) return;
      createSecureContext({ cert: next.certificatePem, key: next.keyPem });
      pair = next;
      log.info('the TLS certificate was reloaded');
      for (const listener of listeners) listener(pair);
    } catch (error) {
      log.error({ err: error }, 'the new TLS certificate cannot be used; the old one stays');
    }
  };
  const timer = setInterval(() => void reload(), CHECK_MS).unref();
  // Folders are watched, since certificate managers replace files and links rather than write into them.
  let settle: NodeJS.Timeout | undefined;
  const watchers = operators
    ? [...new Set([dirname(certFile), dirname(keyFile)])].map((folder) =>
        watch(folder, () => {
          clearTimeout(settle);
          settle = setTimeout(() => void reload(), 200).unref();
        }).unref(),
      )
    : [];
  return {
    current: () => pair,
    authorityPem: operators ? issuerPem(pair.certificatePem) : authority.certificatePem,
    issueClient: (commonName, days) => issueCertificate(authority, { commonName, names: [], usage: 'client', days }, new Date()),
    onChange: (listener) => void listeners.push(listener),
    stop: () => {
      clearInterval(timer);
      clearTimeout(settle);
      for (const watcher of watchers) watcher.close();
    },
  };
}

/** The last certificate of the operator's chain: what a client can trust if it is self-signed or an intermediate. */
function issuerPem(chain: string): string {
  return chain.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g)?.at(-1) ?? chain;
}

async function ownServerPair(authority: KeyPair, options: { folder: string; hostnames: string[] }): Promise<KeyPair> {
  const names = [...new Set(['localhost', '127.0.0.1', '::1', hostname(), ...options.hostnames])];
  const path = join(options.folder, 'server');
  const create = () => issueCertificate(authority, { commonName: 'whochanged', names, usage: 'server', days: SERVER_DAYS }, new Date());
  const pair = await loadOrCreate(path, create);
  const certificate = new X509Certificate(pair.certificatePem);
  const ends = Date.parse(certificate.validTo) - Date.now() < RENEW_BEFORE_MS;
  const lacks = names.some((name) => !certificate.checkHost(name) && !certificate.checkIP(name));
  if (!ends && !lacks && certificate.verify(new X509Certificate(authority.certificatePem).publicKey)) return pair;
  return store(path, await create());
}

async function loadOrCreate(path: string, create: () => Promise<KeyPair>): Promise<KeyPair> {
  try {
    return await readPair(`${path}.crt`, `${path}.key`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return store(path, await create());
  }
}

async function store(path: string, pair: KeyPair): Promise<KeyPair> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await writeFile(`${path}.key.new`, pair.keyPem, { mode: 0o600 });
  await writeFile(`${path}.crt.new`, pair.certificatePem);
  await rename(`${path}.key.new`, `${path}.key`);
  await rename(`${path}.crt.new`, `${path}.crt`);
  return pair;
}

async function readPair(certFile: string, keyFile: string): Promise<KeyPair> {
  const [certificatePem, keyPem] = await Promise.all([readFile(certFile, 'utf8'), readFile(keyFile, 'utf8')]);
  if (!new X509Certificate(certificatePem).checkPrivateKey(createPrivateKey(keyPem))) {
    throw new Error(`${certFile} and ${keyFile} do not belong together`);
  }
  return { certificatePem, keyPem };
}
