import type { HostPullRequest, HostRepo } from '../harness/git-host/state.js';
import { TestRepo } from '../harness/git-repo.js';
import { type GitStep, type Scenario, timeOf } from './scenario.js';

export interface ScenarioRepo {
  repo: TestRepo;
  project: string;
  host: HostRepo;
  /** Commits by the names that the scenario gives them. */
  shas: Map<string, string>;
}

/** The manifest of the Deployment as it stands in git. */
export function manifestOf(image: string): string {
  return [
    'apiVersion: apps/v1',
    'kind: Deployment',
    'metadata:',
    '  name: web',
    '  namespace: shop',
    '  labels: {app: web}',
    'spec:',
    '  replicas: 2',
    '  selector: {matchLabels: {app: web}}',
    '  template:',
    '    metadata: {labels: {app: web}}',
    '    spec:',
    '      containers:',
    '        - name: web',
    `          image: ${image}`,
    '',
  ].join('\n');
}

const personOf = (login: string) =>
  login === 'web-flow' ? 'GitHub <noreply@github.com>' : `${login} <${login}@example.com>`;

/** Makes a scenario's repositories, with git, and what their host knows of them. */
export function makeRepositories(scenario: Scenario): Map<string, ScenarioRepo> {
  const made = new Map<string, ScenarioRepo>();
  for (const [name, steps] of Object.entries(scenario.git ?? {})) {
    const full = `s${String(scenario.number).padStart(2, '0')}-${name}`;
    const made_: ScenarioRepo = {
      repo: new TestRepo(full),
      project: `acme/${full}`,
      host: {
        project: `acme/${full}`,
        permissions: (scenario.permissions ?? {}) as HostRepo['permissions'] & object,
        pullRequests: [],
        pushes: [],
        bypasses: [],
      },
      shas: new Map(),
    };
    for (const step of steps) take(made_, step);
    if (made.size === 0)
      made_.host.runs = Object.fromEntries(
        Object.entries(scenario.runs ?? {}).map(([id, { of, from, to }]) => [
          id,
          { sha: made_.shas.get(of)!, startedAt: timeOf(from), endedAt: timeOf(to) },
        ]),
      );
    made.set(name, made_);
  }
  return made;
}

function take({ repo, host, shas }: ScenarioRepo, step: GitStep): void {
  const pullRequest = (number: number): HostPullRequest =>
    host.pullRequests!.find((pr) => pr.number === number)!;
  const write = (image: string | undefined, other?: string) => ({
    ...(image !== undefined && { 'web/deployment.yaml': manifestOf(image) }),
    ...(other !== undefined && { [other]: `${other} at ${shas.size}\n` }),
  });
  if ('push' in step) {
    if (shas.size > 0) repo.checkout('main');
    const before = shas.size === 0 ? undefined : repo.head();
    const sha = repo.commit({
      files: { ...write(step.image, step.other), ...step.files },
      author: personOf(step.by),
      message: `Change ${step.push}`,
    });
    shas.set(step.push, sha);
    host.pushes!.push({
      pusher: step.by,
      sha,
      at: timeOf(step.at),
      branch: 'main',
      ...(before !== undefined && { before }),
    });
    if (step.bypassing !== undefined)
      host.bypasses!.push({
        actor: step.by,
        at: timeOf(step.at),
        before: before!,
        after: sha,
        rules: [step.bypassing],
      });
  } else if ('open' in step) {
    const base = step.onto ?? 'main';
    repo.checkout('main');
    if (base !== 'main') repo.checkout(base, 'main');
    repo.checkout(`pr-${step.open}`, base);
    host.pullRequests!.push({
      number: step.open,
      author: step.by,
      base,
      commits: [],
      createdAt: timeOf(step.at),
      pushes: [],
      reviews: [],
    });
  } else if ('commit' in step) {
    const pr = pullRequest(step.to);
    repo.checkout(`pr-${step.to}`);
    const message = [
      `Change ${step.commit}`,
      ...(step.with ? ['', ...step.with.map((login) => `Co-authored-by: ${personOf(login)}`)] : []),
    ].join('\n');
    const sha = repo.commit({
      files: { ...write(step.image), ...step.files },
      author: personOf(step.by),
      committer: personOf(step.committer ?? step.by),
      message,
    });
    shas.set(step.commit, sha);
    pr.commits.push({
      sha,
      author: step.by,
      ...(step.committer && { committer: step.committer }),
      ...(step.with && { coAuthors: step.with }),
    });
    pr.pushes!.push({ pusher: step.pushedBy ?? step.committer ?? step.by, sha, at: timeOf(step.at) });
  } else if ('review' in step) {
    pullRequest(step.review).reviews!.push({
      reviewer: step.by,
      state: step.says,
      at: timeOf(step.at),
      ...(step.dismissed !== undefined && { dismissedAt: timeOf(step.dismissed), dismissedBy: 'carol' }),
    });
  } else if ('merge' in step) merge(step);
  else {
    repo.checkout('main');
    repo.git('cherry-pick', '--allow-empty', shas.get(step.from)!);
    shas.set(step.pick, repo.head());
    host.pushes!.push({ pusher: step.by, sha: repo.head(), at: timeOf(step.at), branch: 'main' });
  }

  function merge(step: Extract<GitStep, { merge: string }>): void {
    const pr = pullRequest(step.of);
    const branch = `pr-${step.of}`;
    repo.checkout(pr.base ?? 'main');
    const parent = repo.head();
    const method = step.how ?? 'merge';
    let sha: string;
    if (method === 'merge') sha = repo.merge(branch, { author: personOf(step.by) });
    else
      sha = repo.squash(branch, {
        author: personOf(pr.author),
        committer: personOf('web-flow'),
        files: step.edited ? write(step.edited) : {},
      });
    shas.set(step.merge, sha);
    pr.merged = {
      at: timeOf(step.at),
      by: step.by,
      sha,
      method,
      parents: method === 'merge' ? [parent, pr.commits.at(-1)!.sha] : [parent],
    };
  }
}
