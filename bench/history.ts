import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Pool } from 'pg';

/** Deployments in each application's folder, and applications in each repository. */
export const DEPLOYMENTS = 4;
export const APPLICATIONS = 10;
const COMMITS_PER_PULL_REQUEST = 5;

/** A commit on a main branch that deploys an application. */
export interface Deployable {
  repo: string;
  url: string;
  sha: string;
  application: number;
  image: string;
}

export function manifest(repo: string, application: number, deployment: number, image: string): object {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: `app-${deployment}`, namespace: `${repo}-${application}`, labels: { app: 'web' } },
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: 'web' } },
      template: {
        metadata: { labels: { app: 'web' } },
        spec: {
          containers: [{ name: 'web', image, resources: { limits: { cpu: '1000m', memory: '128Mi' } } }],
        },
      },
    },
  };
}

/**
 * Makes a repository of so many pull requests, each of five commits: one pushed to main, three on a branch from before
 * it, and the merge or squash of the branch. All are approved by somebody else than their author.
 * @returns the commits of main, in order
 */
export async function makeHistory(
  pool: Pool,
  folder: string,
  repo: string,
  pullRequests: number,
  until: number,
): Promise<Deployable[]> {
  const git = join(folder, repo);
  mkdirSync(git, { recursive: true });
  execFileSync('git', ['init', '--quiet', '--bare', '--initial-branch=main', git]);
  const stream: string[] = [];
  let mark = 0;
  const data = (text: string) => `data ${Buffer.byteLength(text)}\n${text}\n`;
  const started = until / 1e6 - 86_400 * 60;
  const commit = (
    ref: string,
    author: string,
    from: number[],
    files: Array<[path: string, text: string]>,
  ) => {
    mark++;
    const who = `${author} <${author}@example.com> ${Math.floor(started + mark * 60)} +0000`;
    stream.push(`commit ${ref}\nmark :${mark}\nauthor ${who}\ncommitter ${who}\n${data(`Change ${mark}`)}`);
    if (from[0] !== undefined) stream.push(`from :${from[0]}\n`);
    if (from[1] !== undefined) stream.push(`merge :${from[1]}\n`);
    for (const [path, text] of files) stream.push(`M 100644 inline ${path}\n${data(text)}`);
    return mark;
  };
  const files = (application: number, image: string) =>
    Array.from({ length: DEPLOYMENTS }, (_, i): [string, string] => [
      `apps/${application}/app-${i}.yaml`,
      JSON.stringify(manifest(repo, application, i, image), null, 1),
    ]);
  const all = Array.from({ length: APPLICATIONS }, (_, i) => files(i, 'web:0')).flat();
  let main = commit('refs/heads/main', 'carol', [], all);
  const planned: Array<{ mark: number; application: number; image: string }> = [];
  const requests: Array<{ number: number; head: number; merge: number; squash: boolean; branch: number[] }> =
    [];
  for (let number = 1; number <= pullRequests; number++) {
    const [own, other] = [number % APPLICATIONS, (number + 5) % APPLICATIONS];
    const before = main;
    main = commit('refs/heads/main', 'carol', [main], files(own, `web:d${number}`));
    planned.push({ mark: main, application: own, image: `web:d${number}` });
    const ref = `refs/pull/${number}/head`;
    const branch: number[] = [];
    for (const suffix of ['-1', '-2', ''])
      branch.push(commit(ref, 'alice', [branch.at(-1) ?? before], files(other, `web:m${number}${suffix}`)));
    const squash = number % 2 === 0;
    const head = branch.at(-1)!;
    main = commit(
      'refs/heads/main',
      squash ? 'alice' : 'bob',
      squash ? [main] : [main, head],
      files(other, `web:m${number}`),
    );
    planned.push({ mark: main, application: other, image: `web:m${number}` });
    requests.push({ number, head, merge: main, squash, branch });
  }
  const marks = join(folder, `${repo}.marks`);
  execFileSync('git', ['--git-dir', git, 'fast-import', '--quiet', '--force', `--export-marks=${marks}`], {
    input: stream.join(''),
    maxBuffer: 1 << 26,
  });
  const shas = new Map(
    readFileSync(marks, 'utf8')
      .trim()
      .split('\n')
      .map((line) => line.slice(1).split(' ') as [string, string])
      .map(([id, sha]) => [Number(id), sha]),
  );
  const url = `file://${git}`;
  const { rows } = await pool.query<{ id: number }>(
    `insert into repos (name, url, host_kind, project, default_branch, synced_at) values ($1, $2, 'github', $3, 'main', now()) returning id`,
    [repo, url, `acme/${repo}`],
  );
  const time = (commitMark: number) => new Date((started + commitMark * 60) * 1000).toISOString();
  const facts = requests.map(({ number, head, merge, squash }) => ({
    number,
    head_sha: shas.get(head),
    merge_sha: shas.get(merge),
    merged_at: time(merge),
    reviewed_at: time(merge - 1),
    method: squash ? 'squash' : 'merge',
  }));
  const { id } = rows[0]!;
  const told = `jsonb_to_recordset($2::jsonb) as t (number integer, head_sha text, merge_sha text, merged_at timestamptz, reviewed_at timestamptz, method text)`;
  await pool.query(
    `insert into pull_requests (repo_id, number, title, url, state, author, base_ref, head_sha, created_at, updated_at, merged_at, merged_by, merge_sha, merge_method, synced_at)
     select $1, number, 'Change', 'https://git.example.com/' || number, 'merged', '{"login":"alice"}', 'main', head_sha,
            reviewed_at - interval '1 hour', merged_at, merged_at, '{"login":"bob"}', merge_sha, method, now() from ${told}`,
    [id, JSON.stringify(facts)],
  );
  await pool.query(
    `insert into reviews (repo_id, number, review_id, reviewer, state, submitted_at, sha, permission, permission_seen_at, counted, first_seen_at)
     select $1, number, 'r' || number, '{"login":"bob"}', 'approved', reviewed_at, head_sha, 'write', reviewed_at, true, reviewed_at from ${told}`,
    [id, JSON.stringify(facts)],
  );
  await pool.query(
    `insert into pull_request_commits (repo_id, number, position, sha, landed, author, committer)
     select $1, number, position, sha, landed, '{"login":"alice","email":"alice@example.com"}', '{"login":"alice","email":"alice@example.com"}'
       from jsonb_to_recordset($2::jsonb) as t (number integer, position integer, sha text, landed boolean)`,
    [
      id,
      JSON.stringify(
        requests.flatMap(({ number, branch, merge }) => [
          ...branch.map((one, position) => ({ number, position, sha: shas.get(one), landed: false })),
          { number, position: 0, sha: shas.get(merge), landed: true },
        ]),
      ),
    ],
  );
  return planned.map(({ mark: one, application, image }) => ({
    repo,
    url,
    sha: shas.get(one)!,
    application,
    image,
  }));
}

export function commitsOf(repos: number, pullRequests: number): number {
  return repos * (1 + pullRequests * COMMITS_PER_PULL_REQUEST);
}
