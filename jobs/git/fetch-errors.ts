import { WhochangedError } from '../../core/errors.js';
import { GitError } from './git-process.js';

const MOST = 800;

/** What a failure of git or ssh means, by what they say, and what to do about it. */
const ADVICE: ReadonlyArray<readonly [RegExp, string]> = [
  [
    /Authentication failed|could not read (Username|Password)|HTTP Basic: Access denied|returned error: 40[13]/,
    'the host refused the credential, or wants one: look at the file or variable that the repository names, and what the token may read',
  ],
  [
    /Permission denied \(|Load key .*(invalid|error)|bad permissions/,
    'ssh: the key was refused: is it the deploy key of this repository, of mode 600?',
  ],
  [
    /Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED/,
    'ssh: the host’s key is not in the known hosts file: compare it with what the host publishes and put it there',
  ],
  [
    /unable to update url base from redirection|returned error: 30\d|redirect/i,
    'the repository has moved: remove it and add it under its new URL',
  ],
  [
    /[Rr]epository .*not found|does not appear to be a git repository|returned error: 404|does not exist/,
    'there is no such repository there, or the credential may not see it',
  ],
  [
    /Could not resolve host|Name or service not known/,
    'the host’s name leads nowhere: look at the URL and at DNS',
  ],
  [
    /Failed to connect|Connection refused|Connection timed out|No route to host|timed out/,
    'the host can’t be reached: look at the network and at the proxy variables',
  ],
  [/certificate|SSL/, 'its TLS certificate is not trusted here: set SSL_CERT_FILE to its CA'],
  [/No space left on device|disk quota/i, 'the disk is full: make room in WHOCHANGED_GIT_DIR'],
  [/dubious ownership/, 'the repository belongs to another user of this machine: git refuses to read it'],
  [
    /bad object|corrupt|unable to read|invalid sha1|is empty|missing (blob|tree|commit)/,
    'the mirror or the repository is damaged: run git fsck in both; a mirror may be deleted, and is made again',
  ],
];

/**
 * A failed fetch for people: what, where, and what to do. Nothing of a credential stays in it, and no line ends or
 * control characters, since the other side chose some of the words.
 * @param secrets to take out wherever they stand
 */
export function describeFetchError(
  error: unknown,
  repo: { url: string },
  secrets: readonly string[],
): string {
  if (error instanceof WhochangedError)
    return clean(`${error.message}${error.hint === undefined ? '' : `; ${error.hint}`}`, secrets);
  if (!(error instanceof GitError)) return clean((error as Error).message ?? String(error), secrets);
  const said = clean(`${error.message}`, secrets);
  if (error.reason === 'timeout')
    return `${said}, from ${repo.url}: the next attempt goes on; raise WHOCHANGED_GIT_TIMEOUT_SECONDS for a large first fetch`;
  const advice = ADVICE.find(([pattern]) => pattern.test(error.stderr))?.[1];
  return `${said}, from ${repo.url}${advice === undefined ? '' : `: ${advice}`}`;
}

function clean(text: string, secrets: readonly string[]): string {
  let plain = text;
  for (const secret of secrets) if (secret !== '') plain = plain.replaceAll(secret, '[hidden]');
  plain = plain.replace(/([a-z][a-z0-9+.-]*:\/\/)[^/@\s]+@/gi, '$1').replace(/\p{Cc}+/gu, ' ');
  return plain.length > MOST ? `${plain.slice(0, MOST)}...` : plain;
}
