import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { CliError, EXIT } from './exit.js';

export interface Token {
  value: string;
  /** The variable or file that it came from, for messages: they never hold the token. */
  from: string;
}

export interface ClientOptions {
  url: string;
  token: Token | undefined;
  ca: Buffer | undefined;
  /** A client certificate and its key. */
  certificate: { cert: Buffer; key: Buffer } | undefined;
}

export interface ConnectionFlags {
  url?: string;
  tokenFile?: string;
  caFile?: string;
  certFile?: string;
  keyFile?: string;
}

/** Where the API is and with which token: flags over environment over the usual files. */
export function clientOptions(flags: ConnectionFlags, environment: NodeJS.ProcessEnv): ClientOptions {
  const caFile = flags.caFile ?? (environment.WHOCHANGED_CA_FILE || undefined);
  return {
    url: readURL(flags.url ?? (environment.WHOCHANGED_URL || 'http://127.0.0.1:8080')),
    token: findToken(flags, environment),
    ca: caFile === undefined ? undefined : readCA(caFile),
    certificate: findCertificate(flags, environment),
  };
}

/** For a server that knows people by certificates. One that is given as flags wins over a token of the environment. */
function findCertificate(
  flags: ConnectionFlags,
  environment: NodeJS.ProcessEnv,
): ClientOptions['certificate'] {
  const cert = flags.certFile ?? (environment.WHOCHANGED_CERT_FILE || undefined);
  const key = flags.keyFile ?? (environment.WHOCHANGED_KEY_FILE || undefined);
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined)
    throw new CliError(
      EXIT.usage,
      `there is ${cert === undefined ? 'a key without a client certificate' : 'a client certificate without its key'}`,
      'set both --cert-file and --key-file, or WHOCHANGED_CERT_FILE and WHOCHANGED_KEY_FILE',
    );
  return { cert: readRequired(cert), key: readRequired(key) };
}

function readURL(text: string): string {
  const hint = 'set --url or WHOCHANGED_URL, such as https://whochanged.example.com';
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol))
    throw new CliError(EXIT.usage, `"${text}" is no http(s) URL`, hint);
  if (url.username || url.password)
    throw new CliError(
      EXIT.usage,
      `the URL of ${url.host} has a user or password in it`,
      `${hint}; tokens come from a file`,
    );
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '');
}

function findToken(flags: ConnectionFlags, environment: NodeJS.ProcessEnv): Token | undefined {
  if (flags.tokenFile !== undefined) return tokenOf(readRequired(flags.tokenFile), flags.tokenFile);
  // A server takes a token before a certificate.
  if (flags.certFile !== undefined) return undefined;
  if (environment.WHOCHANGED_TOKEN) return tokenOf(environment.WHOCHANGED_TOKEN, 'WHOCHANGED_TOKEN');
  const file = environment.WHOCHANGED_TOKEN_FILE;
  if (file) return tokenOf(readRequired(file), file);
  // Beside the server, in its container say, its data folder is known.
  const dataDir = environment.WHOCHANGED_DATA_DIR || 'data';
  for (const path of [join(homedir(), '.config/whochanged/token'), join(dataDir, 'admin-token')]) {
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch {
      // Not there: the next one, or none.
      continue;
    }
    return tokenOf(text, path);
  }
  return undefined;
}

/** Checked here, since what can't stand in a header would make Node's http fail in its own words. */
function tokenOf(text: string | Buffer, from: string): Token {
  const value = text.toString().trim();
  if (/^[\x21-\x7e]+$/.test(value)) return { value, from };
  throw new CliError(
    EXIT.usage,
    `${from} holds no token: ${value === '' ? 'it is empty' : 'there are blanks, line breaks or foreign characters in it'}`,
    'a token is one word that begins with wc_, as `whochanged token create` prints it',
  );
}

function readCA(path: string): Buffer {
  const pem = readRequired(path);
  if (pem.includes('-----BEGIN CERTIFICATE-----')) return pem;
  throw new CliError(
    EXIT.usage,
    `${path} holds no certificate in PEM form`,
    'set --ca-file or WHOCHANGED_CA_FILE to the CA of the server; its own one is tls/ca.crt in its data folder',
  );
}

function readRequired(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new CliError(
      EXIT.usage,
      `cannot read ${path}: ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}`,
      'does the file exist, and may you read it?',
    );
  }
}
