import { createPrivateKey, X509Certificate } from 'node:crypto';
import { type FSWatcher, watch } from 'node:fs';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { createSecureContext } from 'node:tls';
import type { Logger } from 'pino';
import { WhochangedError } from '../core/errors.js';
import { createAuthority, issueCertificate, type KeyPair } from './certificates.js';

const DAY_MS = 86_400_000;
const SERVER_DAYS = 365;
const RENEW_BEFORE_MS = 30 * DAY_MS;
/** Besides watching: some file systems (NFS, some mounts of containers) don't tell of changes. */
const CHECK_MS = 60_000;
/** Certificate and key are replaced one after the other. */
const SETTLE_MS = 200;

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

export interface TlsOptions {
  /** Holds our own authority and server certificate. */
  folder: string;
  certFile: string | undefined;
  keyFile: string | undefined;
  /** DNS names and IP addresses of our own certificate, besides those of this machine. */
  hostnames: string[];
}

/**
 * The server's certificate: the operator's files, reloaded when they change, or one of our own, renewed a month before
 * it ends. A file that is broken keeps the old certificate in use.
 * @throws WhochangedError when a file can't be used at the start
 */
export async function openTls(options: TlsOptions, log: Logger): Promise<TlsMaterial> {
  const authority = await openAuthority(join(options.folder, 'ca'));
  const listeners: Array<(pair: KeyPair) => void> = [];
  const { certFile, keyFile } = options;
  const operators = certFile !== undefined && keyFile !== undefined;
  const load = operators ? () => readPair(certFile, keyFile) : () => ownServerPair(authority, options, log);
  let pair = await load();
  warnOfEnd(pair, log);

  const reload = async () => {
    try {
      const next = await load();
      if (next.certificatePem === pair.certificatePem && next.keyPem === pair.keyPem) return;
      pair = next;
      log.info(
        { validTo: new X509Certificate(pair.certificatePem).validTo },
        'the TLS certificate was reloaded',
      );
      warnOfEnd(pair, log);
      for (const listener of listeners) listener(pair);
    } catch (error) {
      log.error({ err: error }, 'the new TLS certificate cannot be used; the old one stays');
    }
  };
  const timer = setInterval(() => void reload(), CHECK_MS).unref();
  let settle: NodeJS.Timeout | undefined;
  const onFileEvent = () => {
    clearTimeout(settle);
    settle = setTimeout(() => void reload(), SETTLE_MS).unref();
  };
  const watchers = operators ? watchFolders([certFile, keyFile], onFileEvent, log) : [];
  return {
    current: () => pair,
    authorityPem: operators ? issuerPem(pair.certificatePem) : authority.certificatePem,
    issueClient: (commonName, days) =>
      issueCertificate(authority, { commonName, names: [], usage: 'client', days }, new Date()),
    onChange: (listener) => void listeners.push(listener),
    stop: () => {
      clearInterval(timer);
      clearTimeout(settle);
      for (const watcher of watchers) watcher.close();
    },
  };
}

/** Folders are watched, since certificate managers replace files and links rather than write into them. */
function watchFolders(files: string[], onEvent: () => void, log: Logger): FSWatcher[] {
  return [...new Set(files.map(dirname))].map((folder) =>
    watch(folder, onEvent)
      .on('error', (error) =>
        log.warn({ err: error, folder }, 'cannot watch the TLS files; they are looked at each minute'),
      )
      .unref(),
  );
}

function warnOfEnd(pair: KeyPair, log: Logger): void {
  const { validTo } = new X509Certificate(pair.certificatePem);
  if (Date.parse(validTo) < Date.now())
    log.error({ validTo }, 'the TLS certificate has expired: apiservers will refuse it');
  else if (Date.parse(validTo) - Date.now() < RENEW_BEFORE_MS / 2)
    log.warn({ validTo }, 'the TLS certificate expires soon');
}

/** The last certificate of the operator's chain: what a client can trust if it is self-signed or an intermediate. */
function issuerPem(chain: string): string {
  return chain.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g)?.at(-1) ?? chain;
}

/** Every kubeconfig that was handed out names the authority, so a damaged one is never replaced silently. */
async function openAuthority(path: string): Promise<KeyPair> {
  const found = await readPair(`${path}.crt`, `${path}.key`).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw new WhochangedError('internal', `our certificate authority cannot be used: ${error.message}`, {
      hint: `restore ${path}.crt and ${path}.key from your backup; or remove both for a new authority, and give every apiserver a new kubeconfig`,
      cause: error,
    });
  });
  return found ?? store(path, await createAuthority(new Date()));
}

async function ownServerPair(authority: KeyPair, options: TlsOptions, log: Logger): Promise<KeyPair> {
  const names = [...new Set(['localhost', '127.0.0.1', '::1', hostname(), ...options.hostnames])];
  const path = join(options.folder, 'server');
  const pair = await readPair(`${path}.crt`, `${path}.key`).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT')
      log.warn({ err: error }, 'our TLS certificate cannot be used; making a new one');
    return undefined;
  });
  if (pair && isFit(new X509Certificate(pair.certificatePem), authority, names)) return pair;
  const usage = 'server';
  return store(
    path,
    await issueCertificate(
      authority,
      { commonName: 'whochanged', names, usage, days: SERVER_DAYS },
      new Date(),
    ),
  );
}

function isFit(certificate: X509Certificate, authority: KeyPair, names: string[]): boolean {
  const dnsNames = (certificate.subjectAltName ?? '').split(', ').map((name) => name.replace(/^DNS:/, ''));
  return (
    Date.parse(certificate.validTo) - Date.now() > RENEW_BEFORE_MS &&
    certificate.verify(new X509Certificate(authority.certificatePem).publicKey) &&
    names.every((name) => (isIP(name) ? certificate.checkIP(name) !== undefined : dnsNames.includes(name)))
  );
}

/** The key first, each whole or not at all. A crash between the two leaves a pair that doesn't match, which is noticed. */
async function store(path: string, pair: KeyPair): Promise<KeyPair> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await replace(`${path}.key`, pair.keyPem, 0o600);
  await replace(`${path}.crt`, pair.certificatePem, 0o644);
  return pair;
}

async function replace(path: string, content: string, mode: number): Promise<void> {
  const file = await open(`${path}.new`, 'w', mode);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}

/** @throws Error when the files are no certificate and key that belong together, or OpenSSL finds the key too weak */
async function readPair(certFile: string, keyFile: string): Promise<KeyPair> {
  const [certificatePem, keyPem] = await Promise.all([readFile(certFile, 'utf8'), readFile(keyFile, 'utf8')]);
  const certificate = parsed(certFile, 'a PEM certificate', () => new X509Certificate(certificatePem));
  const key = parsed(keyFile, 'an unencrypted PEM private key', () => createPrivateKey(keyPem));
  if (!certificate.checkPrivateKey(key)) throw new Error(`${certFile} and ${keyFile} do not belong together`);
  parsed(certFile, 'a certificate that TLS can use', () =>
    createSecureContext({ cert: certificatePem, key: keyPem }),
  );
  return { certificatePem, keyPem };
}

function parsed<T>(path: string, what: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new Error(`${path} is not ${what}: ${(error as Error).message}`);
  }
}
