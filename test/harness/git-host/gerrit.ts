import type { HostFace } from './server.js';
import {
  baseOf,
  branchOf,
  type HostPullRequest,
  type HostRepo,
  type HostState,
  headOf,
  messageOf,
  reviewedSha,
  updatedAt,
  userOf,
} from './state.js';

export interface GerritOptions {
  /** user:password */
  token: string;
}

/** As Gerrit writes times: UTC, with a space and nine digits, and without a zone. */
function time(at: string): string {
  return `${new Date(at).toISOString().slice(0, 23).replace('T', ' ')}000000`;
}

/**
 * Gerrit's REST API for changes, as far as whochanged asks it. A declared pull request is a change: each of its pushes
 * is a patch set, its last commit the commit under review; a bypass of its merge is a submit that was forced.
 */
export function gerritFace(state: HostState, options: GerritOptions): HostFace {
  const account = (login: string) => {
    const known = userOf(state, login);
    return {
      _account_id: known.id,
      name: known.name,
      email: known.email,
      username: known.login,
      ...(known.bot && { tags: ['SERVICE_USER'] }),
    };
  };

  const change = (repo: HostRepo, pr: HostPullRequest) => {
    const commit = pr.commits.at(-1)!;
    const pushes = pr.pushes ?? [{ pusher: pr.author, sha: headOf(pr), at: pr.createdAt }];
    const git = (login: string) => ({ name: userOf(state, login).name, email: userOf(state, login).email });
    const revision = (push: { pusher: string; sha: string; at: string }, i: number) => ({
      _number: i + 1,
      created: time(push.at),
      uploader: account(push.pusher),
      commit: {
        author: git(commit.author),
        committer: git(commit.committer ?? commit.author),
        message: messageOf(state, commit),
      },
    });
    const revisions = Object.fromEntries(pushes.map((push, i) => [push.sha, revision(push, i)]));
    const { merged } = pr;
    // A submit by cherry-pick or rebase writes a patch set of its own.
    if (merged && !revisions[merged.sha])
      revisions[merged.sha] = revision({ pusher: merged.by, sha: merged.sha, at: merged.at }, pushes.length);
    const numberOf = (sha: string | null) => (sha === null ? undefined : revisions[sha]?._number);
    const values = { approved: 2, changes_requested: -2, commented: 1 } as const;
    const messages = [
      ...pushes.map((push, i) => ({
        by: push.pusher,
        at: push.at,
        message: `Uploaded patch set ${i + 1}.`,
        set: i + 1,
      })),
      ...(pr.reviews ?? []).flatMap((review) => {
        const set = numberOf(reviewedSha(pr, review)) ?? 1;
        const value = values[review.state];
        const given = {
          by: review.reviewer,
          at: review.at,
          message: `Patch Set ${set}: Code-Review${value > 0 ? '+' : ''}${value}`,
          set,
        };
        const own = review.dismissedAt && (review.dismissedBy ?? review.reviewer) === review.reviewer;
        return own
          ? [
              given,
              {
                by: review.reviewer,
                at: review.dismissedAt!,
                message: `Patch Set ${set}: -Code-Review`,
                set,
              },
            ]
          : [given];
      }),
    ].sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
    const votes = (pr.reviews ?? [])
      .filter((review) => !review.dismissedAt)
      .map((review) => ({ ...account(review.reviewer), value: values[review.state], date: time(review.at) }));
    const forced = (repo.bypasses ?? []).some((bypass) => bypass.after === merged?.sha);
    const required = repo.requiredApprovals?.[baseOf(repo, pr)] !== undefined;
    return {
      id: `${repo.project}~${pr.number}`,
      project: repo.project,
      branch: baseOf(repo, pr) || branchOf(repo),
      subject: pr.title ?? `Change ${pr.number}`,
      status: merged ? 'MERGED' : pr.closedAt ? 'ABANDONED' : 'NEW',
      created: time(pr.createdAt),
      updated: time(updatedAt(pr)),
      ...(merged && { submitted: time(merged.at), submitter: account(merged.by) }),
      owner: account(pr.author),
      _number: pr.number,
      labels: { 'Code-Review': { all: votes } },
      current_revision: merged?.sha ?? headOf(pr),
      revisions,
      messages: messages.map((one, i) => ({
        id: `m${pr.number}-${i}`,
        author: account(one.by),
        date: time(one.at),
        message: one.message,
        _revision_number: one.set,
      })),
      submit_requirements: required
        ? [
            {
              name: 'Code-Review',
              status: forced ? 'FORCED' : votes.length > 0 ? 'SATISFIED' : 'UNSATISFIED',
            },
          ]
        : [],
    };
  };

  return {
    prefix: ")]}'\n",
    perPage: { parameter: 'n', standard: 25 },
    refuse(request) {
      const expected = `Basic ${Buffer.from(options.token).toString('base64')}`;
      return request.headers.authorization === expected ? undefined : { status: 401, body: 'Unauthorized' };
    },
    answer(request) {
      if (request.path === '/a/changes/') {
        const query = request.query.get('q') ?? '';
        const repo = state.repos.find((one) => query.includes(`project:"${one.project}"`));
        const [, after] = /after:"([^"]+)"/.exec(query) ?? [];
        return {
          list: (repo?.pullRequests ?? [])
            .filter((pr) => after === undefined || Date.parse(updatedAt(pr)) >= Date.parse(after))
            .sort((a, b) => Date.parse(updatedAt(b)) - Date.parse(updatedAt(a)))
            .map((pr) => ({ _number: pr.number, updated: time(updatedAt(pr)) })),
        };
      }
      const [, id = ''] = /^\/a\/changes\/([^/]+)$/.exec(request.path) ?? [];
      const [project, number] = decodeURIComponent(id).split('~');
      const repo = state.repos.find((one) => one.project === project);
      const pr = repo?.pullRequests?.find((one) => one.number === Number(number));
      return repo && pr && { body: change(repo, pr) };
    },
    cursor(list, request) {
      const from = Number(request.query.get('S') ?? 0);
      const slice = list.slice(from, from + Number(request.query.get('n') ?? 25));
      const last = slice.at(-1);
      if (last && from + slice.length < list.length)
        slice[slice.length - 1] = { ...last, _more_changes: true };
      return { slice, headers: {} };
    },
    pages: () => ({}),
    rateHeaders: () => ({}),
    limited: () => ({ status: 429, body: 'Quota exceeded' }),
  };
}
