import { WhochangedError } from '../../core/errors.js';
import type { SyncRepo } from '../../store/facts/host-sync.js';
import { type Credential, type CredentialPlaces, readCredential } from '../credentials.js';
import { GitHubAppTokens } from '../github-app.js';
import { GerritHost } from './gerrit.js';
import { GithubHost } from './github.js';
import { GitlabHost } from './gitlab.js';
import type { Host, Known } from './host.js';
import { HostHttp } from './host-http.js';
import type { HostMetrics } from './metrics.js';

const PUBLIC_APIS = { github: 'https://api.github.com', gitlab: 'https://gitlab.com' } as const;

/** App tokens outlive runs. */
const appTokens = new GitHubAppTokens();

/** Opens hosts for one run: repositories on one host with one credential share what is known of its limits. */
export class HostOpener {
  readonly #options: { credentials: CredentialPlaces; firstPauseMs?: number };
  readonly #metrics: HostMetrics;
  readonly #signal: AbortSignal;
  readonly #https = new Map<string, HostHttp>();

  constructor(
    options: { credentials: CredentialPlaces; firstPauseMs?: number },
    metrics: HostMetrics,
    signal: AbortSignal,
  ) {
    this.#options = options;
    this.#metrics = metrics;
    this.#signal = signal;
  }

  /** @throws WhochangedError `invalid_request` for a credential or a URL that can't be used */
  async open(repo: SyncRepo, known: Known): Promise<Host> {
    const credential = await readCredential(repo.credential!, this.#options.credentials);
    const apiURL = apiURLOf(repo);
    const http = this.#http(apiURL, repo.credential!);
    const shared = { http, apiURL, project: repo.project, name: repo.name, known };
    switch (repo.hostKind) {
      case 'github':
        return new GithubHost({ ...shared, token: await githubToken(credential, apiURL) });
      case 'gitlab':
        return new GitlabHost({ ...shared, token: tokenOf(credential, repo).token });
      case 'gerrit': {
        const { user, token } = tokenOf(credential, repo);
        if (user === undefined)
          throw new WhochangedError(
            'invalid_request',
            `${repo.name}: Gerrit takes a user with the password`,
            {
              hint: 'write user:password in the credential; Gerrit makes the password under Settings, HTTP Credentials',
            },
          );
        return new GerritHost({ ...shared, user, password: token });
      }
    }
  }

  #http(apiURL: string, credential: string): HostHttp {
    const key = `${apiURL} ${credential}`;
    let http = this.#https.get(key);
    if (!http) {
      const host = new URL(apiURL).host;
      http = new HostHttp({
        baseURL: apiURL,
        signal: this.#signal,
        metrics: {
          requests: (status) => this.#metrics.requests.inc({ host, status }),
          rateRemaining: (remaining) => this.#metrics.rateRemaining.set({ host }, remaining),
        },
        ...(this.#options.firstPauseMs !== undefined && { firstPauseMs: this.#options.firstPauseMs }),
      });
      this.#https.set(key, http);
    }
    return http;
  }
}

function tokenOf(credential: Credential, repo: SyncRepo): Extract<Credential, { kind: 'token' }> {
  if (credential.kind === 'token') return credential;
  throw new WhochangedError('invalid_request', `${repo.name}: a GitHub App is known to GitHub only`, {
    hint: 'give it a token',
  });
}

async function githubToken(credential: Credential, apiURL: string): Promise<string> {
  return credential.kind === 'token' ? credential.token : appTokens.token(credential, apiURL);
}

/** Where the host's API is, without a slash at its end. Credentials don't travel in the clear but to this machine. */
function apiURLOf(repo: SyncRepo): string {
  const url = (repo.apiURL ?? standardURL(repo)).replace(/\/+$/, '');
  const { protocol, hostname } = new URL(url);
  if (protocol !== 'https:' && !['127.0.0.1', 'localhost', '[::1]'].includes(hostname))
    throw new WhochangedError(
      'invalid_request',
      `${repo.name}: its API URL ${url} would carry the credential in the clear`,
      { hint: 'use https' },
    );
  return url;
}

function standardURL(repo: SyncRepo): string {
  const host = hostOf(repo.url);
  if (repo.hostKind === 'github')
    return host === undefined || host === 'github.com' ? PUBLIC_APIS.github : `https://${host}/api/v3`;
  if (host !== undefined) return `https://${host}`;
  if (repo.hostKind === 'gitlab') return PUBLIC_APIS.gitlab;
  throw new WhochangedError('invalid_request', `${repo.name}: where its API is can't be told from its URL`, {
    hint: 'give it an API URL',
  });
}

/** The host of a git URL, ssh's short form included. */
function hostOf(url: string): string | undefined {
  if (URL.canParse(url) && /^(https?|ssh|git):$/.test(new URL(url).protocol)) return new URL(url).hostname;
  return /^(?:[^@/]+@)?([A-Za-z0-9.-]+):(?!\/\/)/.exec(url)?.[1];
}
