import { readFile, realpath } from 'node:fs/promises';
import { isAbsolute, sep } from 'node:path';
import { parse } from 'yaml';
import { WhochangedError } from '../core/errors.js';

/** Only variables with this prefix may be named, so that nobody can have DATABASE_URL sent to a server of theirs. */
export const CREDENTIAL_VARIABLE = /^WHOCHANGED_CREDENTIAL_[A-Z0-9_]+$/;
const MAX_BYTES = 64 * 1024;

/** Where credentials may come from. */
export interface CredentialPlaces {
  /** Files must be in it, after symlinks are followed: a reference must not make any other file be sent somewhere. */
  folder: string;
  environment: NodeJS.ProcessEnv;
}

/**
 * What a credential reference leads to.
 *
 * - `token`: a token, or `user:password` as one line
 * - `github_app`: YAML or JSON with `github_app: {app_id, installation_id, private_key}`
 */
export type Credential =
  | { kind: 'token'; token: string; user?: string }
  | { kind: 'github_app'; appID: string; installationID: string; privateKey: string };

/**
 * Reads a credential by its reference, `env:NAME` or `file:/path`. Read at each use, so that a rotated one counts at
 * once. No error holds any of its content.
 * @throws WhochangedError `invalid_request` saying what is wrong with the reference or with what is there
 */
export async function readCredential(reference: string, places: CredentialPlaces): Promise<Credential> {
  const text = await readReference(reference, places);
  if (/^\s*(\{|github_app\s*:)/m.test(text)) return githubApp(reference, text);
  const lines = text.trim().split('\n');
  if (lines.length !== 1 || /\s/.test(lines[0]!))
    throw wrong(
      reference,
      'it is not one line without spaces',
      'put the token there alone, or user:password',
    );
  const [, user, password] = /^([^:]+):(.+)$/.exec(lines[0]!) ?? [];
  return user !== undefined && password !== undefined
    ? { kind: 'token', user, token: password }
    : { kind: 'token', token: lines[0]! };
}

/** The text that a reference leads to. */
export async function readReference(reference: string, places: CredentialPlaces): Promise<string> {
  if (reference.startsWith('env:')) {
    const name = reference.slice(4);
    if (!CREDENTIAL_VARIABLE.test(name))
      throw wrong(
        reference,
        'such a variable may not be used',
        'name it WHOCHANGED_CREDENTIAL_ and something',
      );
    const value = places.environment[name];
    if (!value?.trim()) throw wrong(reference, 'that variable is not set', 'set it where the role jobs runs');
    return value;
  }
  const path = reference.startsWith('file:') ? reference.slice(5) : '';
  if (!isAbsolute(path))
    throw wrong(reference, 'it is neither env:NAME nor file:/path', 'write it like one of those');
  let folder: string;
  let file: string;
  try {
    folder = await realpath(places.folder);
    file = await realpath(path);
  } catch (error) {
    throw wrong(
      reference,
      `it can't be read: ${(error as NodeJS.ErrnoException).code}`,
      'put the file there',
    );
  }
  if (!file.startsWith(folder + sep))
    throw wrong(
      reference,
      `it is not in ${places.folder}`,
      'put credentials there, or set WHOCHANGED_CREDENTIALS_DIR to where they are',
    );
  try {
    const content = await readFile(file);
    if (content.length > MAX_BYTES) throw Object.assign(new Error(), { code: 'larger than 64 KiB' });
    const text = content.toString('utf8');
    if (text.trim() !== '') return text;
  } catch (error) {
    throw wrong(
      reference,
      `it can't be read: ${(error as NodeJS.ErrnoException).code}`,
      'let whochanged read it',
    );
  }
  throw wrong(reference, 'it is empty', 'put the token there');
}

function githubApp(reference: string, text: string): Credential {
  let app: Record<string, unknown> | undefined;
  try {
    app = (parse(text) as { github_app?: Record<string, unknown> } | null)?.github_app;
  } catch {
    // The parser's message quotes the file.
  }
  const { app_id: appID, installation_id: installationID, private_key: privateKey } = app ?? {};
  if (
    !/^[\w.-]+$/.test(String(appID)) ||
    !/^\d+$/.test(String(installationID)) ||
    typeof privateKey !== 'string'
  )
    throw wrong(
      reference,
      'it describes no GitHub App',
      'write github_app: with app_id, installation_id and private_key (PEM) below it',
    );
  return { kind: 'github_app', appID: String(appID), installationID: String(installationID), privateKey };
}

function wrong(reference: string, what: string, hint: string): WhochangedError {
  return new WhochangedError('invalid_request', `credential ${reference}: ${what}`, { hint });
}
