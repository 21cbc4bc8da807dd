import { createPublicKey, verify } from 'node:crypto';
import type { HostAnswer, HostFace, HostRequest, Rate } from './server.js';
import {
  baseOf,
  branchOf,
  type HostCommit,
  type HostPullRequest,
  type HostRepo,
  type HostState,
  headOf,
  headRefOf,
  idOf,
  messageOf,
  reviewedSha,
  updatedAt,
  userOf,
} from './state.js';

export interface GithubOptions {
  token: string;
  /** A GitHub App that may ask for tokens; `publicKey` in PEM. */
  app?: { id: string; installation: string; publicKey: string };
  /** Without the right to read administration: rule suites and branch protection answer 403. */
  administration?: boolean;
}

const WEB_FLOW = 'web-flow';

/** GitHub's REST API of version 2022-11-28 and the one GraphQL question that whochanged asks. */
export function githubFace(state: HostState, options: GithubOptions): HostFace {
  const appToken = 'ghs_of_the_app';
  const now = () => new Date().toISOString();

  const user = (login: string) => {
    const known = userOf(state, login);
    return { login: known.login, id: known.id, type: known.bot ? 'Bot' : 'User', site_admin: false };
  };
  const gitUser = (login: string, at: string) => {
    if (login === WEB_FLOW) return { name: 'GitHub', email: 'noreply@github.com', date: at };
    const known = userOf(state, login);
    return { name: known.name, email: known.email, date: at };
  };
  const commitItem = (commit: HostCommit, at: string) => ({
    sha: commit.sha,
    commit: {
      author: gitUser(commit.author, commit.at ?? at),
      committer: gitUser(commit.committer ?? commit.author, commit.at ?? at),
      message: messageOf(state, commit),
    },
    author: user(commit.author),
    committer: user(commit.committer ?? commit.author),
    parents: (commit.parents ?? []).map((sha) => ({ sha })),
  });

  const pull = (repo: HostRepo, pr: HostPullRequest, one: boolean) => ({
    number: pr.number,
    state: pr.merged || pr.closedAt ? 'closed' : 'open',
    title: pr.title ?? `Change ${pr.number}`,
    html_url: `https://git.example.com/${repo.project}/pull/${pr.number}`,
    user: user(pr.author),
    created_at: pr.createdAt,
    updated_at: updatedAt(pr),
    closed_at: pr.merged?.at ?? pr.closedAt ?? null,
    merged_at: pr.merged?.at ?? null,
    // GitHub puts a trial merge here while it isn't merged, and leaves it when it is closed.
    merge_commit_sha: pr.merged?.sha ?? '0123456789012345678901234567890123456789',
    head: {
      ref: headRefOf(pr),
      sha: headOf(pr),
      repo: { full_name: repo.project },
      user: user(repo.project.split('/')[0]!),
    },
    base: { ref: baseOf(repo, pr), sha: '1'.repeat(40), repo: { full_name: repo.project } },
    auto_merge: null,
    ...(one && {
      merged: pr.merged !== undefined,
      merged_by: pr.merged ? user(pr.merged.by) : null,
      commits: pr.commits.length,
    }),
  });

  const reviews = (pr: HostPullRequest) =>
    (pr.reviews ?? []).map((review, i) => ({
      id: pr.number * 1000 + i,
      user: user(review.reviewer),
      body: '',
      state: (review.dismissedAt ? 'dismissed' : review.state).toUpperCase(),
      commit_id: reviewedSha(pr, review),
      submitted_at: review.at,
    }));

  const timeline = (pr: HostPullRequest) => [
    ...(pr.reviews ?? []).map((review, i) => ({
      event: 'reviewed',
      id: pr.number * 1000 + i,
      state: review.dismissedAt ? 'dismissed' : review.state,
      submitted_at: review.at,
      user: user(review.reviewer),
    })),
    ...(pr.reviews ?? []).flatMap((review, i) =>
      review.dismissedAt
        ? [
            {
              event: 'review_dismissed',
              id: pr.number * 1000 + 500 + i,
              actor: user(review.dismissedBy ?? review.reviewer),
              created_at: review.dismissedAt,
              dismissed_review: {
                state: review.state,
                review_id: pr.number * 1000 + i,
                dismissal_message: null,
              },
            },
          ]
        : [],
    ),
    ...(pr.merged?.method === 'queue'
      ? [{ event: 'added_to_merge_queue', actor: user(pr.merged.by), created_at: pr.merged.at }]
      : []),
  ];

  const activity = (repo: HostRepo) => {
    const pushes = [
      ...(repo.pushes ?? []).map((push) => ({ ...push, branch: push.branch, type: 'push' })),
      ...(repo.pullRequests ?? []).flatMap((pr) => [
        ...(pr.pushes ?? []).map((push) => ({ ...push, branch: headRefOf(pr), type: 'push' })),
        ...(pr.merged
          ? [
              {
                pusher: pr.merged.by,
                sha: pr.merged.sha,
                at: pr.merged.at,
                before: pr.merged.parents?.[0],
                branch: baseOf(repo, pr),
                type: pr.merged.method === 'queue' ? 'merge_queue_merge' : 'pr_merge',
              },
            ]
          : []),
      ]),
    ];
    return pushes
      .sort((a, b) => Date.parse(b.at) - Date.parse(a.at))
      .map((push) => ({
        id: idOf(`${push.branch} ${push.sha} ${push.at}`),
        before: push.before ?? '0'.repeat(40),
        after: push.sha,
        ref: `refs/heads/${push.branch}`,
        timestamp: push.at,
        activity_type: push.type,
        actor: user(push.pusher),
      }));
  };

  /** Every commit on a base branch that the state tells of, by SHA. */
  const landed = (repo: HostRepo) => {
    const known = new Map<string, { commit: HostCommit; at: string }>();
    for (const pr of repo.pullRequests ?? []) {
      for (const commit of pr.commits) known.set(commit.sha, { commit, at: pr.createdAt });
      const { merged } = pr;
      if (!merged || known.has(merged.sha)) continue;
      const list = merged.landed ?? [merged.sha];
      const rebased = merged.method === 'rebase';
      for (const [i, sha] of list.entries()) {
        const source = pr.commits[i] ?? pr.commits.at(-1)!;
        const commit: HostCommit = {
          sha,
          parents: i > 0 ? [list[i - 1]!] : (merged.parents ?? ['b'.repeat(40)]),
          author: rebased ? source.author : pr.author,
          committer: rebased ? merged.by : WEB_FLOW,
          ...(rebased && source.coAuthors && { coAuthors: source.coAuthors }),
          message: rebased
            ? (source.message ?? `Change ${source.sha.slice(0, 7)}`)
            : `${pr.title ?? 'Change'} (#${pr.number})`,
        };
        known.set(sha, { commit, at: merged.at });
      }
    }
    return known;
  };

  const suites = (repo: HostRepo) =>
    (repo.bypasses ?? [])
      .map((bypass) => ({
        id: idOf(`${bypass.after} ${bypass.at}`),
        actor_id: idOf(bypass.actor),
        actor_name: bypass.actor,
        before_sha: bypass.before,
        after_sha: bypass.after,
        ref: `refs/heads/${bypass.branch ?? branchOf(repo)}`,
        repository_name: repo.project.split('/')[1],
        pushed_at: bypass.at,
        result: 'bypass',
        evaluation_result: 'bypass',
        rule_evaluations: (bypass.rules ?? ['pull_request']).map((rule) => ({
          rule_source: { type: 'ruleset', id: 1, name: 'main' },
          enforcement: 'active',
          result: 'fail',
          rule_type: rule,
        })),
      }))
      .sort((a, b) => Date.parse(b.pushed_at) - Date.parse(a.pushed_at));

  const runs = (repo: HostRepo) =>
    (repo.environmentReviews ?? []).map((review) => ({
      id: idOf(`${review.sha} ${review.environment} ${review.at}`),
      head_sha: review.sha,
      created_at: review.at,
      updated_at: review.at,
      html_url: `https://git.example.com/${repo.project}/actions/runs/1`,
      review,
    }));

  function inRepo(repo: HostRepo, rest: string, request: HostRequest): HostAnswer | undefined {
    const { query } = request;
    const prs = repo.pullRequests ?? [];
    if (rest === 'pulls') {
      const field = query.get('sort') === 'updated' ? updatedAt : (pr: HostPullRequest) => pr.createdAt;
      const sign = query.get('direction') === 'asc' ? 1 : -1;
      const open = (pr: HostPullRequest) => !pr.merged && !pr.closedAt;
      const state = query.get('state') ?? 'open';
      return {
        list: prs
          .filter((pr) => state === 'all' || open(pr) === (state === 'open'))
          .sort((a, b) => sign * (Date.parse(field(a)) - Date.parse(field(b))))
          .map((pr) => pull(repo, pr, false)),
      };
    }
    const [, number, part] = /^(?:pulls|issues)\/(\d+)(?:\/(\w+))?$/.exec(rest) ?? [];
    if (number !== undefined) {
      const pr = prs.find((one) => one.number === Number(number));
      if (!pr) return undefined;
      if (part === undefined) return { body: pull(repo, pr, true) };
      if (part === 'reviews') return { list: reviews(pr) };
      if (part === 'timeline') return { list: timeline(pr) };
      // GitHub lists at most 250 of them.
      if (part === 'commits')
        return { list: pr.commits.slice(0, 250).map((c) => commitItem(c, pr.createdAt)) };
      return undefined;
    }
    if (rest === 'activity') {
      const ref = query.get('ref')?.replace(/^refs\/heads\//, '');
      return { list: activity(repo).filter((one) => ref === undefined || one.ref === `refs/heads/${ref}`) };
    }
    const [, login] = /^collaborators\/([^/]+)\/permission$/.exec(rest) ?? [];
    if (login !== undefined) {
      const role = repo.permissions?.[decodeURIComponent(login)] ?? 'write';
      // The old word is coarser; role_name tells maintain and triage apart.
      const permission = role === 'maintain' ? 'write' : role === 'triage' ? 'read' : role;
      return { body: { permission, role_name: role, user: user(decodeURIComponent(login)) } };
    }
    const [, sha] = /^commits\/([0-9a-f]{40})$/.exec(rest) ?? [];
    if (sha !== undefined) {
      const known = landed(repo).get(sha);
      return known && { body: commitItem(known.commit, known.at) };
    }
    if (rest === 'commits') {
      const known = landed(repo);
      const list: unknown[] = [];
      for (let at = query.get('sha') ?? ''; known.has(at); at = known.get(at)!.commit.parents?.[0] ?? '')
        list.push(commitItem(known.get(at)!.commit, known.get(at)!.at));
      return { list };
    }
    const [, before, after] = /^compare\/([0-9a-f]+)\.\.\.([0-9a-f]+)$/.exec(rest) ?? [];
    if (before !== undefined) {
      const bypass = (repo.bypasses ?? []).find((one) => one.before === before && one.after === after);
      const shas = bypass?.shas ?? [after!];
      return {
        body: { status: 'ahead', total_commits: shas.length, commits: shas.map((one) => ({ sha: one })) },
      };
    }
    const [, branch] = /^rules\/branches\/(.+)$/.exec(rest) ?? [];
    if (branch !== undefined) {
      const required = repo.requiredApprovals?.[decodeURIComponent(branch)];
      return {
        list:
          required === undefined
            ? []
            : [{ type: 'pull_request', parameters: { required_approving_review_count: required } }],
      };
    }
    if (/^branches\/.+\/protection$/.test(rest))
      return options.administration === false
        ? forbidden()
        : { status: 404, body: { message: 'Branch not protected' } };
    if (rest.startsWith('rulesets/rule-suites')) {
      if (options.administration === false) return forbidden();
      const [, id] = /^rulesets\/rule-suites\/(\d+)$/.exec(rest) ?? [];
      if (id !== undefined) {
        const suite = suites(repo).find((one) => one.id === Number(id));
        return suite && { body: suite };
      }
      return { list: suites(repo).map(({ rule_evaluations: _, ...item }) => item) };
    }
    if (rest === 'environments') {
      const names = [...new Set((repo.environmentReviews ?? []).map((one) => one.environment))];
      return {
        body: {
          total_count: names.length,
          environments: names.map((name) => ({ name, protection_rules: [{ type: 'required_reviewers' }] })),
        },
      };
    }
    if (rest === 'actions/runs') {
      const list = runs(repo).map(({ review: _, ...run }) => run);
      return { body: { total_count: list.length, workflow_runs: list } };
    }
    const [, id] = /^actions\/runs\/(\d+)$/.exec(rest) ?? [];
    if (id !== undefined) {
      const one = repo.runs?.[id];
      if (!one) return undefined;
      return {
        body: {
          id: Number(id),
          head_sha: one.sha,
          status: one.endedAt === undefined ? 'in_progress' : 'completed',
          created_at: one.startedAt,
          run_started_at: one.startedAt,
          updated_at: one.endedAt ?? one.startedAt,
          html_url: `https://git.example.com/${repo.project}/actions/runs/${id}`,
        },
      };
    }
    const [, run] = /^actions\/runs\/(\d+)\/approvals$/.exec(rest) ?? [];
    if (run !== undefined) {
      const found = runs(repo).filter((one) => one.id === Number(run));
      return {
        list: found.map(({ review }) => ({
          environments: [{ name: review.environment }],
          state: review.state,
          user: user(review.reviewer),
          comment: '',
        })),
      };
    }
    return undefined;
  }

  /** Every commit of a pull request, a hundred at a time, and what it became. */
  function graphql(request: HostRequest): HostAnswer {
    const { query, variables } = JSON.parse(request.body) as {
      query: string;
      variables: { owner: string; name: string; number: number; after: string | null };
    };
    const repo = state.repos.find((one) => one.project === `${variables.owner}/${variables.name}`);
    const pr = repo?.pullRequests?.find((one) => one.number === variables.number);
    if (!/pullRequest\s*\(/.test(query) || !pr)
      return {
        body: { data: { repository: null }, errors: [{ type: 'NOT_FOUND', message: 'Could not resolve' }] },
      };
    const from = Number(variables.after ?? 0);
    const actor = (login: string, at: string) => ({ ...gitUser(login, at), user: { login } });
    const nodes = pr.commits.slice(from, from + 100).map((commit) => ({
      commit: {
        oid: commit.sha,
        message: messageOf(state, commit),
        author: actor(commit.author, commit.at ?? pr.createdAt),
        committer: actor(commit.committer ?? commit.author, commit.at ?? pr.createdAt),
      },
    }));
    const endCursor = String(from + nodes.length);
    return {
      body: {
        data: {
          repository: {
            pullRequest: {
              mergeCommit: pr.merged ? { oid: pr.merged.sha } : null,
              commits: {
                pageInfo: { hasNextPage: from + nodes.length < pr.commits.length, endCursor },
                nodes,
              },
            },
          },
        },
      },
    };
  }

  return {
    perPage: { parameter: 'per_page', standard: 30 },
    refuse(request) {
      const token = /^(?:token|bearer) (.+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? '';
      const [, installation] = /^\/app\/installations\/(\d+)\/access_tokens$/.exec(request.path) ?? [];
      if (installation !== undefined) {
        if (request.method !== 'POST' || !options.app || !isSignedBy(options.app, token))
          return { status: 401, body: { message: 'A JSON web token could not be decoded' } };
        const expires = new Date(Date.now() + 3_600_000).toISOString();
        return { status: 201, body: { token: appToken, expires_at: expires, permissions: {} } };
      }
      if (token !== options.token && !(options.app && token === appToken))
        return { status: 401, body: { message: 'Bad credentials' } };
      if (request.headers['x-github-api-version'] !== '2022-11-28' && request.path !== '/graphql')
        return { status: 400, body: { message: `the version was not pinned at ${now()}` } };
      return undefined;
    },
    answer(request) {
      if (request.path === '/graphql' && request.method === 'POST') return graphql(request);
      if (request.method !== 'GET') return undefined;
      const [, project, rest = ''] = /^\/repos\/([^/]+\/[^/]+)(?:\/(.*))?$/.exec(request.path) ?? [];
      const repo = state.repos.find((one) => one.project.toLowerCase() === project?.toLowerCase());
      return repo && inRepo(repo, rest, request);
    },
    pages({ url, number, perPage, total }) {
      const last = Math.max(1, Math.ceil(total / perPage));
      const link = (page: number, rel: string) => {
        const to = new URL(url);
        to.searchParams.set('page', String(page));
        return `<${to.href}>; rel="${rel}"`;
      };
      return number < last
        ? { link: `${link(number + 1, 'next')}, ${link(last, 'last')}` }
        : ({} as Record<string, string>);
    },
    cursor(list, request) {
      if (!request.path.endsWith('/activity')) return undefined;
      const perPage = Number(request.query.get('per_page') ?? 30);
      const from = Number(request.query.get('after') ?? 0);
      const headers: Record<string, string> = {};
      if (from + perPage < list.length) {
        const to = new URL(request.path, `http://${request.headers.host}`);
        for (const [key, value] of request.query) to.searchParams.set(key, value);
        to.searchParams.set('after', String(from + perPage));
        headers.link = `<${to.href}>; rel="next"`;
      }
      return { slice: list.slice(from, from + perPage), headers };
    },
    rateHeaders,
    limited: (rate) => ({
      status: 403,
      body: { message: 'API rate limit exceeded for user ID 1.' },
      headers: rateHeaders(rate),
    }),
  };
}

function rateHeaders(rate: Rate): Record<string, string> {
  return {
    'x-ratelimit-limit': String(rate.limit),
    'x-ratelimit-remaining': String(rate.remaining),
    'x-ratelimit-reset': String(rate.reset),
  };
}

function forbidden(): HostAnswer {
  return {
    status: 403,
    body: { message: 'Resource not accessible by personal access token' },
    headers: { 'x-accepted-github-permissions': 'administration=read' },
  };
}

function isSignedBy(app: { id: string; publicKey: string }, jwt: string): boolean {
  const [head = '', claims = '', signature = ''] = jwt.split('.');
  const { iss, exp } = JSON.parse(Buffer.from(claims, 'base64url').toString() || '{}') as {
    iss?: string;
    exp?: number;
  };
  return (
    String(iss) === app.id &&
    (exp ?? 0) * 1000 > Date.now() &&
    verify(
      'sha256',
      Buffer.from(`${head}.${claims}`),
      createPublicKey(app.publicKey),
      Buffer.from(signature, 'base64url'),
    )
  );
}
