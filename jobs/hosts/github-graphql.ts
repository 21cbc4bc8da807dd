import type { GithubCommit } from '../../core/hosts/github.js';
import type { GithubRepo } from './github.js';
import { HostError } from './host-http.js';

/** REST lists no more commits of a pull request than this. */
export const REST_COMMITS = 250;

interface Actor {
  name: string | null;
  email: string | null;
  user: { login: string } | null;
}

interface Answer {
  repository: {
    pullRequest: {
      mergeCommit: { oid: string } | null;
      commits: {
        pageInfo: { hasNextPage: boolean; endCursor: string | null };
        nodes: Array<{ commit: { oid: string; message: string; author: Actor; committer: Actor } }>;
      };
    } | null;
  } | null;
}

const QUERY = `query ($owner: String!, $name: String!, $number: Int!, $after: String) {
  repository(owner: $owner, name: $name) {
    pullRequest(number: $number) {
      mergeCommit { oid }
      commits(first: 100, after: $after) {
        pageInfo { hasNextPage endCursor }
        nodes { commit { oid message author { name email user { login } } committer { name email user { login } } } }
      }
    }
  }
}`;

/** All commits of a pull request and what it became: REST lists 250, and newer API versions leave the merge out. */
export async function allGithubCommits(
  { octokit, owner, repo, name }: GithubRepo,
  number: number,
): Promise<{ commits: GithubCommit[]; mergeSha?: string }> {
  const commits: GithubCommit[] = [];
  let after: string | null = null;
  for (;;) {
    const answer: Answer = await octokit.graphql<Answer>(QUERY, { owner, name: repo, number, after });
    const pull = answer.repository?.pullRequest;
    if (!pull) throw new HostError(200, `${name}#${number}: GraphQL doesn't show it`);
    for (const { commit } of pull.commits.nodes) {
      commits.push({
        sha: commit.oid,
        commit: { author: git(commit.author), committer: git(commit.committer), message: commit.message },
        author: commit.author.user,
        committer: commit.committer.user,
      });
    }
    after = pull.commits.pageInfo.endCursor;
    if (!pull.commits.pageInfo.hasNextPage)
      return { commits, ...(pull.mergeCommit && { mergeSha: pull.mergeCommit.oid }) };
  }
}

function git(actor: Actor): { name?: string; email?: string } {
  return {
    ...(actor.name !== null && { name: actor.name }),
    ...(actor.email !== null && { email: actor.email }),
  };
}
