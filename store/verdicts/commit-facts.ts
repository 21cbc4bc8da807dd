import type { ClientBase } from 'pg';
import type {
  Commit,
  CommitFacts,
  Equivalence,
  KnownOwners,
  MergeMethod,
  PullRequest,
} from '../../core/approval/facts.js';
import type { JsonObject } from '../../core/audit-event.js';
import type { CommitGraph } from '../../core/git/commit-graph.js';
import type { SourceReading } from '../../core/links/source-reading.js';
import { commitKey, findCommitApprovals } from '../queries/commit-approvals.js';
import { type Graphs, Repositories } from './repositories.js';

/** What only git can tell, from mirrors on disk; main/ passes it in. */
export interface GitAnswers {
  /**
   * How a merged commit stands to the head that was approved.
   * @param graph of the repository's commits, where it is at hand: it spares a process
   */
  equivalence(
    repo: string,
    merged: { approvedHead: string; mergeSha: string; method: MergeMethod | undefined },
    graph?: CommitGraph,
  ): Promise<Equivalence>;
  /**
   * The manifest of an object at a revision; undefined: there is none.
   * @param reading how the engine makes manifests of the path; undefined: as they lie there, with the folders below
   */
  manifest(
    repo: string,
    sha: string,
    path: string,
    object: { group: string; kind: string; namespace: string; name: string },
    reading?: SourceReading,
  ): Promise<FoundManifest | undefined>;
  /** Who owned what at a revision, told as git tells revisions (`SHA~2`). */
  owners(repo: string, revision: string): Promise<KnownOwners>;
  /** All manifests that the engine makes of a path of a revision, redacted as bodies of events are. */
  manifests(repo: string, sha: string, path: string, reading: SourceReading): Promise<RenderedManifests>;
}

/** A manifest, and what made it of the files; else why it can't be had. */
export type FoundManifest =
  | { manifest: JsonObject; renderer: string; unknown?: undefined }
  | { manifest?: undefined; unknown: string };

/** Manifests, and what made them of the files; else why they can't be had. */
export type RenderedManifests =
  | { manifests: JsonObject[]; renderer: string; unknown?: undefined }
  | { manifests?: undefined; renderer?: undefined; unknown: string };

const NO_MIRROR: Equivalence = { kind: 'unknown', detail: 'no mirror of the repository is at hand' };

/**
 * Commits with everything that their approval is judged from, by `repo sha` (commitKey).
 * @param wanted `owners`: whether the policy asks for the owners of what is changed
 */
export async function findCommitFacts(
  client: ClientBase,
  commits: readonly Commit[],
  git: GitAnswers | undefined,
  graphs?: Graphs,
  wanted: { owners: boolean } = { owners: false },
): Promise<Map<string, CommitFacts>> {
  const told = await findCommitApprovals(
    client,
    commits.map(({ repo, sha }) => ({ repo, sha })),
  );
  const merges = new Map<
    string,
    { repo: string; approvedHead: string; mergeSha: string; method: MergeMethod | undefined }
  >();
  for (const { pullRequests } of told.values())
    for (const pr of pullRequests)
      if (pr.mergeSha !== undefined && pr.state === 'merged')
        merges.set(mergeKey(pr.repo, pr.headSha, pr.mergeSha), {
          repo: pr.repo,
          approvedHead: pr.headSha,
          mergeSha: pr.mergeSha,
          method: pr.mergeMethod,
        });
  const equivalences = await findEquivalences(client, [...merges.values()], git, graphs);
  const owners = wanted.owners ? await findOwners(commits, told, git) : undefined;
  return new Map(
    commits.map((commit): [string, CommitFacts] => {
      const facts = told.get(commitKey(commit))!;
      return [
        commitKey(commit),
        {
          commit,
          pullRequests: facts.pullRequests.map((pullRequest) => ({
            pullRequest,
            equivalence:
              pullRequest.mergeSha === undefined
                ? { kind: 'unknown', detail: 'the host tells no merged commit' }
                : equivalences.get(mergeKey(pullRequest.repo, pullRequest.headSha, pullRequest.mergeSha))!,
            ...ownersOf(owners, pullRequest.repo, beforeMerge(pullRequest)),
          })),
          ...ownersOf(owners, commit.repo, `${commit.sha}~1`),
          ...(facts.bypass && { bypass: facts.bypass }),
          approvals: facts.approvals,
          ...(facts.hostSyncedAt !== undefined && { hostSyncedAt: facts.hostSyncedAt }),
        },
      ];
    }),
  );
}

/** What a pull request was merged onto; of a rebase that lies below all that it became. */
function beforeMerge({ mergeSha, mergeMethod, commits }: PullRequest): string | undefined {
  const many = mergeMethod === 'rebase' || mergeMethod === 'fast_forward';
  return mergeSha && `${mergeSha}~${many ? Math.max(1, commits.length) : 1}`;
}

type Owners = Map<string, KnownOwners>;

function ownersOf(
  owners: Owners | undefined,
  repo: string,
  revision: string | undefined,
): { owners?: KnownOwners } {
  const known = revision === undefined ? undefined : owners?.get(`${repo} ${revision}`);
  return known ? { owners: known } : {};
}

/** Who owned what before each commit and each merge, by repository and revision. */
async function findOwners(
  commits: readonly Commit[],
  told: Awaited<ReturnType<typeof findCommitApprovals>>,
  git: GitAnswers | undefined,
): Promise<Owners> {
  const owners: Owners = new Map();
  const asked = [
    ...commits.map(({ repo, sha }) => ({ repo, revision: `${sha}~1` as string | undefined })),
    ...[...told.values()].flatMap(({ pullRequests }) =>
      pullRequests.map((pr) => ({ repo: pr.repo, revision: beforeMerge(pr) })),
    ),
  ];
  for (const { repo, revision } of asked)
    if (revision !== undefined && !owners.has(`${repo} ${revision}`))
      owners.set(
        `${repo} ${revision}`,
        git ? await git.owners(repo, revision) : { unknown: 'no mirror of the repository is at hand' },
      );
  return owners;
}

function mergeKey(repo: string, head: string, merge: string): string {
  return `${repo} ${head} ${merge}`;
}

/** What was recomputed once is kept; what couldn't be is tried again. */
async function findEquivalences(
  client: ClientBase,
  merges: ReadonlyArray<{
    repo: string;
    approvedHead: string;
    mergeSha: string;
    method: MergeMethod | undefined;
  }>,
  git: GitAnswers | undefined,
  graphs: Graphs | undefined,
): Promise<Map<string, Equivalence>> {
  const found = new Map<string, Equivalence>();
  if (merges.length === 0) return found;
  const { rows } = await client.query<{
    repo: string;
    approved_head: string;
    merge_sha: string;
    kind: Equivalence['kind'];
    detail: string | null;
  }>({
    name: 'equivalences',
    text: `select e.* from unnest($1::text[], $2::text[], $3::text[]) as q (repo, head, merge)
             join equivalences e on e.repo = q.repo and e.approved_head = q.head and e.merge_sha = q.merge`,
    values: [
      merges.map(({ repo }) => repo),
      merges.map(({ approvedHead }) => approvedHead),
      merges.map(({ mergeSha }) => mergeSha),
    ],
  });
  for (const row of rows)
    found.set(mergeKey(row.repo, row.approved_head, row.merge_sha), {
      kind: row.kind,
      ...(row.detail !== null && { detail: row.detail }),
    });
  const open = merges.filter((one) => !found.has(mergeKey(one.repo, one.approvedHead, one.mergeSha)));
  if (open.length === 0) return found;
  const repositories = git && graphs && (await Repositories.load(client));
  const byRepo = new Map<string, CommitGraph>();
  for (const name of new Set(open.map(({ repo }) => repo))) {
    const repo = repositories?.find(name);
    if (repo) byRepo.set(name, await graphs!.of(client, repo.id));
  }
  for (const merge of open)
    found.set(
      mergeKey(merge.repo, merge.approvedHead, merge.mergeSha),
      git ? await git.equivalence(merge.repo, merge, byRepo.get(merge.repo)) : NO_MIRROR,
    );
  return found;
}

/** Keeps recomputed equivalences. */
export async function recordEquivalences(client: ClientBase, facts: Iterable<CommitFacts>): Promise<void> {
  const rows = new Map<string, object>();
  for (const { pullRequests } of facts)
    for (const { pullRequest, equivalence } of pullRequests)
      if (equivalence.kind !== 'unknown' && pullRequest.mergeSha !== undefined)
        rows.set(mergeKey(pullRequest.repo, pullRequest.headSha, pullRequest.mergeSha), {
          repo: pullRequest.repo,
          approved_head: pullRequest.headSha,
          merge_sha: pullRequest.mergeSha,
          kind: equivalence.kind,
          detail: equivalence.detail ?? null,
        });
  if (rows.size === 0) return;
  await client.query(
    `insert into equivalences (repo, approved_head, merge_sha, kind, detail)
     select repo, approved_head, merge_sha, kind, detail
       from jsonb_to_recordset($1::jsonb) as t (repo text, approved_head text, merge_sha text, kind text, detail text)
     on conflict (repo, approved_head, merge_sha) do nothing`,
    [JSON.stringify([...rows.values()])],
  );
}
