import { gerritFace } from './git-host/gerrit.js';
import { type GithubOptions, githubFace } from './git-host/github.js';
import { type GitlabOptions, gitlabFace } from './git-host/gitlab.js';
import { type Fault, type LoggedRequest, type Rate, serveHost } from './git-host/server.js';
import type { HostState } from './git-host/state.js';

const FACES = { github: githubFace, gitlab: gitlabFace, gerrit: gerritFace };

export interface GitHost {
  /** For `repos.api_url`. */
  apiURL: string;
  token: string;
  /** What the host knows. A test may change it while it runs: the next answer tells. */
  state: HostState;
  /** Every request so far. */
  requests: LoggedRequest[];
  /** Answers to give instead of the real ones. */
  faults: Fault[];
  rate: Rate;
  stop(): Promise<void>;
}

/**
 * A git host on 127.0.0.1 that speaks the documented API of its kind over what a scenario declares.
 *
 *     const host = await startGitHost('github', { repos: [{ project: 'acme/shop', pullRequests: [...] }] });
 */
export async function startGitHost(
  kind: keyof typeof FACES,
  state: HostState,
  options: Partial<GithubOptions & GitlabOptions> = {},
): Promise<GitHost> {
  const token =
    options.token ?? (kind === 'gerrit' ? 'whochanged:a-password-of-the-test' : 'a-token-of-the-test');
  const server = await serveHost(FACES[kind](state, { ...options, token }));
  return {
    apiURL: server.origin,
    token,
    state,
    requests: server.requests,
    faults: server.faults,
    rate: server.rate,
    stop: server.stop,
  };
}
