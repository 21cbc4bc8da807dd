import type { HostAnswer, HostFace, Rate } from './server.js';
import {
  baseOf,
  type HostPullRequest,
  type HostRepo,
  type HostState,
  headOf,
  messageOf,
  updatedAt,
  userOf,
} from './state.js';

export interface GitlabOptions {
  token: string;
  /** Whether approvals say when they were given (GitLab 18 and later). */
  approvedAt?: boolean;
}

const LEVELS = { admin: 50, maintain: 40, write: 30, triage: 20, read: 10, none: 0 } as const;

/** GitLab's REST API v4, as far as whochanged asks it. */
export function gitlabFace(state: HostState, options: GitlabOptions): HostFace {
  const user = (login: string) => {
    const known = userOf(state, login);
    return { id: known.id, username: known.login, name: known.name, state: 'active' };
  };

  const mergeRequest = (repo: HostRepo, pr: HostPullRequest) => ({
    iid: pr.number,
    title: pr.title ?? `Change ${pr.number}`,
    web_url: `https://git.example.com/${repo.project}/-/merge_requests/${pr.number}`,
    state: pr.merged ? 'merged' : pr.closedAt ? 'closed' : 'opened',
    author: user(pr.author),
    created_at: pr.createdAt,
    updated_at: updatedAt(pr),
    merged_at: pr.merged?.at ?? null,
    merge_user: pr.merged ? user(pr.merged.by) : null,
    target_branch: baseOf(repo, pr),
    sha: headOf(pr),
    merge_commit_sha: pr.merged && ['merge', undefined].includes(pr.merged.method) ? pr.merged.sha : null,
    squash_commit_sha: pr.merged?.method === 'squash' ? pr.merged.sha : null,
  });

  const standing = (pr: HostPullRequest) =>
    (pr.reviews ?? []).filter((review) => review.state === 'approved' && !review.dismissedAt);

  /** The first push makes the merge request; each after it is a note by who pushed. */
  const notes = (pr: HostPullRequest) => {
    const list: Array<{ body: string; by: string; at: string; system: boolean }> = [
      { body: 'What is this for?', by: pr.author, at: pr.createdAt, system: false },
    ];
    for (const push of (pr.pushes ?? []).slice(1))
      list.push({
        body: 'added 1 commit\n\n<ul><li>...</li></ul>',
        by: push.pusher,
        at: push.at,
        system: true,
      });
    for (const review of pr.reviews ?? []) {
      if (review.state === 'approved')
        list.push({ body: 'approved this merge request', by: review.reviewer, at: review.at, system: true });
      if (review.state === 'changes_requested')
        list.push({ body: 'requested changes', by: review.reviewer, at: review.at, system: true });
      if (review.dismissedAt && (review.dismissedBy ?? review.reviewer) === review.reviewer)
        list.push({
          body: 'unapproved this merge request',
          by: review.reviewer,
          at: review.dismissedAt,
          system: true,
        });
    }
    return list
      .sort((a, b) => Date.parse(a.at) - Date.parse(b.at))
      .map((note, i) => ({
        id: pr.number * 1000 + i,
        body: note.body,
        system: note.system,
        author: user(note.by),
        created_at: note.at,
      }));
  };

  const commits = (pr: HostPullRequest) =>
    pr.commits
      .map((commit) => {
        const author = userOf(state, commit.author);
        const committer = userOf(state, commit.committer ?? commit.author);
        return {
          id: commit.sha,
          message: messageOf(state, commit),
          author_name: author.name,
          author_email: author.email,
          committer_name: committer.name,
          committer_email: committer.email,
        };
      })
      .reverse();

  const versions = (pr: HostPullRequest) =>
    (pr.pushes ?? [{ pusher: pr.author, sha: headOf(pr), at: pr.createdAt }])
      .map((push, i) => ({ id: i + 1, head_commit_sha: push.sha, created_at: push.at }))
      .reverse();

  function inProject(repo: HostRepo, rest: string, query: URLSearchParams): HostAnswer | undefined {
    const prs = repo.pullRequests ?? [];
    if (rest === 'merge_requests') {
      const after = query.get('updated_after');
      return {
        list: prs
          .filter((pr) => after === null || Date.parse(updatedAt(pr)) >= Date.parse(after))
          .sort((a, b) => Date.parse(updatedAt(b)) - Date.parse(updatedAt(a)))
          .map((pr) => mergeRequest(repo, pr)),
      };
    }
    const [, number, part] = /^merge_requests\/(\d+)(?:\/(\w+))?$/.exec(rest) ?? [];
    if (number !== undefined) {
      const pr = prs.find((one) => one.number === Number(number));
      if (!pr) return undefined;
      const required = pr.requiredApprovals ?? repo.requiredApprovals?.[baseOf(repo, pr)];
      if (part === undefined) return { body: mergeRequest(repo, pr) };
      if (part === 'commits') return { list: commits(pr) };
      if (part === 'notes') return { list: notes(pr) };
      if (part === 'versions') return { list: versions(pr) };
      if (part === 'approvals')
        return {
          body: {
            ...(required !== undefined && { approvals_required: required }),
            approved_by: standing(pr).map((review) => ({
              user: user(review.reviewer),
              ...(options.approvedAt !== false && { approved_at: review.at }),
            })),
          },
        };
      return undefined;
    }
    const [, pipeline] = /^pipelines\/(\d+)$/.exec(rest) ?? [];
    if (pipeline !== undefined) {
      const run = repo.runs?.[pipeline];
      if (!run) return undefined;
      return {
        body: {
          id: Number(pipeline),
          sha: run.sha,
          created_at: run.startedAt,
          finished_at: run.endedAt ?? null,
          web_url: `https://git.example.com/${repo.project}/-/pipelines/${pipeline}`,
        },
      };
    }
    const [, id] = /^members\/all\/(\d+)$/.exec(rest) ?? [];
    if (id !== undefined) {
      const logins = [
        ...Object.keys(repo.permissions ?? {}),
        ...prs.flatMap((pr) => (pr.reviews ?? []).map((review) => review.reviewer)),
      ];
      const login = logins.find((one) => user(one).id === Number(id));
      const permission = login === undefined ? 'none' : (repo.permissions?.[login] ?? 'write');
      if (login === undefined || permission === 'none') return undefined;
      return { body: { ...user(login), access_level: LEVELS[permission] } };
    }
    return undefined;
  }

  return {
    perPage: { parameter: 'per_page', standard: 20 },
    refuse(request) {
      if (request.headers['private-token'] === options.token) return undefined;
      return { status: 401, body: { message: '401 Unauthorized' } };
    },
    answer(request) {
      if (request.method !== 'GET') return undefined;
      if (request.path === '/api/v4/users') return { list: [user(request.query.get('username') ?? '')] };
      const [, project, rest = ''] = /^\/api\/v4\/projects\/([^/]+)\/(.*)$/.exec(request.path) ?? [];
      const repo = state.repos.find((one) => one.project === decodeURIComponent(project ?? ''));
      return repo && inProject(repo, rest, request.query);
    },
    pages({ url, number, perPage, total }) {
      const last = Math.max(1, Math.ceil(total / perPage));
      const next = number < last ? number + 1 : undefined;
      const to = new URL(url);
      if (next !== undefined) to.searchParams.set('page', String(next));
      return {
        'x-page': String(number),
        'x-per-page': String(perPage),
        'x-total': String(total),
        'x-total-pages': String(last),
        'x-next-page': next === undefined ? '' : String(next),
        ...(next !== undefined && { link: `<${to.href}>; rel="next"` }),
      };
    },
    rateHeaders,
    limited: (rate) => ({
      status: 429,
      body: { message: 'Retry later' },
      headers: { 'retry-after': String(Math.max(1, rate.reset - Math.floor(Date.now() / 1000))) },
    }),
  };
}

function rateHeaders(rate: Rate): Record<string, string> {
  return {
    'ratelimit-limit': String(rate.limit),
    'ratelimit-remaining': String(rate.remaining),
    'ratelimit-reset': String(rate.reset),
  };
}
