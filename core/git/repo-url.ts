import { WhochangedError } from '../errors.js';

export const GIT_PROTOCOLS = ['https', 'ssh', 'http', 'file'] as const;
export type GitProtocol = (typeof GIT_PROTOCOLS)[number];

export interface RepoURL {
  /** As git takes it, without any secret. */
  url: string;
  protocol: GitProtocol;
  host: string;
  /** The path on the host without `.git`, such as owner/name. */
  project: string;
}

/**
 * Reads a repository's URL, also in ssh's short form `git@host:owner/name.git`.
 * @throws WhochangedError `invalid_request`; the URL is not repeated, since it may hold a password
 */
export function parseRepoURL(text: string): RepoURL {
  const short = /^([A-Za-z0-9._-]+@)?([A-Za-z0-9.-]+):(?!\/\/)([^\s:]+)$/.exec(text);
  const whole = short ? `ssh://${short[1] ?? ''}${short[2]}/${short[3]!.replace(/^\/+/, '')}` : text;
  if (!URL.canParse(whole) || /[\s\0]/.test(whole)) throw wrong('it is no URL');
  const url = new URL(whole);
  const protocol = GIT_PROTOCOLS.find((known) => url.protocol === `${known}:`);
  if (protocol === undefined) throw wrong(`git repositories are not fetched by ${url.protocol}`);
  if (url.password !== '' || (protocol !== 'ssh' && url.username !== ''))
    throw wrong(
      'it holds a user or password, and would be shown to every reader',
      'give a --credential instead',
    );
  if (url.search !== '' || url.hash !== '') throw wrong('it has a query or a fragment');
  if (url.hostname.startsWith('-') || url.username.startsWith('-')) throw wrong('its host begins with -');
  const project = decoded(url.pathname).replace(/^\/+|\/+$|\.git\/*$/g, '');
  if (project === '') throw wrong('it names no repository');
  return { url: whole, protocol, host: url.hostname, project };
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw wrong('its path holds a % that encodes nothing');
  }
}

function wrong(what: string, hint = 'write it like https://git.example.com/owner/name.git'): WhochangedError {
  return new WhochangedError('invalid_request', `the repository's URL: ${what}`, { hint });
}
