import { WhochangedError } from '../../core/errors.js';
import { type GitProtocol, parseRepoURL } from '../../core/git/repo-url.js';
import type { MirroredRepo } from '../../store/repos.js';
import { type CredentialPlaces, readCredential } from '../credentials.js';
import type { GitHubAppTokens } from '../github-app.js';

/** How git reaches one repository: settings and environment for a call, and the secrets that no error may hold. */
export interface Access {
  settings: Array<[name: string, value: string]>;
  environment: Record<string, string>;
  secrets: string[];
}

export interface AccessOptions {
  protocols: readonly GitProtocol[];
  credentials: CredentialPlaces;
  appTokens: GitHubAppTokens;
}

const GITHUB_API = 'https://api.github.com';
/** git hands its ssh command to a shell, so only paths that mean nothing else there are taken. */
const PLAIN_PATH = /^\/[\w./+@%=-]+$/;
/** What the host calls the user whose password is a token; others take any name. */
const TOKEN_USERS: Record<MirroredRepo['hostKind'], string> = {
  github: 'x-access-token',
  gitlab: 'oauth2',
  gerrit: 'git',
  git: 'git',
};

/**
 * What git needs to read a repository. Secrets go through the environment only: arguments and files can be read by
 * others, and git repeats URLs.
 * @throws WhochangedError `invalid_request` saying what is missing
 */
export async function accessTo(repo: MirroredRepo, options: AccessOptions): Promise<Access> {
  const { protocol, url } = parseRepoURL(repo.url);
  if (!options.protocols.includes(protocol))
    throw new WhochangedError('invalid_request', `fetching by ${protocol} is switched off`, {
      hint: `use another URL, or add ${protocol} to WHOCHANGED_GIT_PROTOCOLS`,
    });
  const access: Access = {
    settings: [],
    // A redirect may lead to another host, which must not get what is meant for this one.
    environment: { GIT_ALLOW_PROTOCOL: protocol, GIT_PROTOCOL_FROM_USER: '0' },
    secrets: [],
  };
  if (protocol === 'ssh') access.environment.GIT_SSH_COMMAND = sshCommand(repo);
  if (protocol !== 'https' && protocol !== 'http') return access;
  access.settings.push(
    ['http.followRedirects', 'false'],
    // A connection that carries less than 1000 bytes a second for a minute is dead.
    ['http.lowSpeedLimit', '1000'],
    ['http.lowSpeedTime', '60'],
  );
  if (repo.credential === undefined) return access;
  const credential = await readCredential(repo.credential, options.credentials);
  const [user, password] =
    credential.kind === 'github_app'
      ? [TOKEN_USERS.github, await options.appTokens.token(credential, repo.apiURL ?? GITHUB_API)]
      : [credential.user ?? TOKEN_USERS[repo.hostKind], credential.token];
  const basic = Buffer.from(`${user}:${password}`).toString('base64');
  access.settings.push([`http.${new URL(url).origin}/.extraHeader`, `Authorization: Basic ${basic}`]);
  access.secrets.push(password, basic);
  return access;
}

function sshCommand(repo: MirroredRepo): string {
  const { sshKeyFile, knownHostsFile } = repo;
  if (sshKeyFile === undefined || knownHostsFile === undefined)
    throw new WhochangedError('invalid_request', 'ssh needs a key and the hosts that are known', {
      hint: 'give --ssh-key-file and --known-hosts-file (ssh-keyscan HOST, compared with what the host publishes)',
    });
  for (const path of [sshKeyFile, knownHostsFile])
    if (!PLAIN_PATH.test(path))
      throw new WhochangedError(
        'invalid_request',
        `the path ${path} holds characters that may mean something else`,
        {
          hint: 'use letters, digits and ./_-+@%= only',
        },
      );
  const options = {
    BatchMode: 'yes',
    IdentitiesOnly: 'yes',
    IdentityAgent: 'none',
    IdentityFile: sshKeyFile,
    StrictHostKeyChecking: 'yes',
    UserKnownHostsFile: knownHostsFile,
    GlobalKnownHostsFile: '/dev/null',
    UpdateHostKeys: 'no',
    PasswordAuthentication: 'no',
    ForwardAgent: 'no',
    ClearAllForwardings: 'yes',
    ConnectTimeout: '20',
    ServerAliveInterval: '20',
    ServerAliveCountMax: '3',
  };
  return [
    'ssh',
    '-F',
    '/dev/null',
    ...Object.entries(options).map(([name, value]) => `-o ${name}=${value}`),
  ].join(' ');
}
