import { posix } from 'node:path';
import type { ClientBase } from 'pg';
import type { JsonObject } from '../../core/audit-event.js';
import { compareContent, isSameContent, wholeObject } from '../../core/links/compare-content.js';
import type { RenderedMatch } from '../../core/links/evidence.js';
import type { Subject } from '../../core/links/link.js';
import { repositoryByMatch } from '../../core/links/pipeline.js';
import { manifestDigest, normalizeManifest } from '../../core/manifest/manifest.js';
import { parseMicros } from '../../core/timestamp.js';
import type { Policy } from '../../core/verdict/policy.js';
import type { GitAnswers } from './commit-facts.js';
import { type Graphs, type MirroredRepo, Repositories } from './repositories.js';
import type { SubjectRow } from './subjects.js';

/** Of the commits before a change that touch manifests, this many are held against it, the newest first. */
const COMMITS_LOOKED_AT = 30;
/** Of one commit. What changes more files than this deploys no single object. */
const FILES_LOOKED_AT = 50;
/** How far back along a branch commits that touch manifests are looked for. */
const MOST_MAINLINE = 5000;
const CHUNK = 500;
const MANIFEST = /\.(ya?ml|json)$/;

/** What manifests of commits are read with. */
export interface Rendering {
  git: GitAnswers | undefined;
  graphs: Graphs;
}

export interface WrittenObject {
  row: SubjectRow;
  subject: Subject;
  object: JsonObject | undefined;
  request: JsonObject | undefined;
}

/**
 * The commits whose manifests say what pipelines wrote (rule 7), by change id. Looked for where nothing better names the
 * commit, and only in the repository that the policy says the pipeline deploys: along its default branch, whose merges
 * stand for what was merged. A commit that leaves the manifest as it was is no match: it didn't bring it.
 */
export async function findRenderedMatches(
  client: ClientBase,
  written: readonly WrittenObject[],
  policy: Policy,
  { git, graphs }: Rendering,
): Promise<Map<string, RenderedMatch[]>> {
  const matches = new Map<string, RenderedMatch[]>();
  if (!git) return matches;
  const asked = written.flatMap((one) => {
    const { row, subject, object } = one;
    if (row.class !== 'change' || row.deleted || !object || subject.objectKind === undefined) return [];
    const repository = repositoryByMatch(subject, policy);
    return repository === undefined ? [] : [{ ...one, object, repository, kind: subject.objectKind }];
  });
  if (asked.length === 0) return matches;
  const repositories = await Repositories.load(client);
  const branches = new Map<number, Mainline>();
  for (const { row, subject, object, request, repository, kind } of asked) {
    const repo = repositories.find(repository);
    if (!repo) continue;
    const branch = branches.get(repo.id) ?? (await Mainline.of(client, repo, graphs));
    branches.set(repo.id, branch);
    const found: RenderedMatch[] = [];
    for (const { sha, files } of await branch.before(client, subject.at)) {
      for (const path of pathsOf(files)) {
        const key = { group: row.api_group, kind, namespace: row.namespace, name: row.name };
        const rendered = await git.manifest(repo.name, sha, path, key);
        if (!rendered?.manifest) continue;
        const { manifest, renderer } = rendered;
        if (!isSameContent(compareContent(manifest, object, wholeObject(request), renderer, []))) continue;
        found.push({
          repository,
          sha,
          path,
          renderer,
          digest: manifestDigest(manifest).toString('hex'),
          fields: fieldsOf(manifest),
        });
        break;
      }
    }
    if (found.length > 0) matches.set(row.change_id, found);
  }
  return matches;
}

/** The files themselves; then their folders, of which kustomizations may be made. */
function pathsOf(files: readonly string[]): string[] {
  const folders = new Set(files.map((file) => posix.dirname(file)));
  return [...files, ...[...folders].filter((folder) => folder !== '.')];
}

/** What of a manifest is compared: `spec.replicas`, two steps deep. */
function fieldsOf(manifest: JsonObject): string[] {
  return Object.entries(normalizeManifest(manifest)).flatMap(([key, value]) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.keys(value).map((field) => `${key}.${field}`)
      : [key],
  );
}

interface BranchCommit {
  sha: string;
  committedAt: number;
  /** Manifests that it changes. */
  files: string[];
}

/** The commits of a repository's default branch, newest first, read as far back as it is asked. */
class Mainline {
  readonly #repo: MirroredRepo;
  readonly #rest: string[];
  readonly #read: BranchCommit[] = [];

  private constructor(repo: MirroredRepo, shas: string[]) {
    this.#repo = repo;
    this.#rest = shas;
  }

  static async of(client: ClientBase, repo: MirroredRepo, graphs: Graphs): Promise<Mainline> {
    const { rows } = await client.query<{ sha: string }>({
      name: 'default-branch-tip',
      text: `select f.sha from repos r join refs f on f.repo_id = r.id and f.name = 'refs/heads/' || r.default_branch
              where r.id = $1`,
      values: [repo.id],
    });
    const graph = await graphs.of(client, repo.id);
    return new Mainline(repo, rows[0] ? graph.mainline(rows[0].sha, MOST_MAINLINE) : []);
  }

  /** Those that were committed by then and change manifests, the newest ones. */
  async before(client: ClientBase, at: number): Promise<BranchCommit[]> {
    for (;;) {
      const found = this.#read.filter((commit) => commit.committedAt <= at);
      if (found.length >= COMMITS_LOOKED_AT || this.#rest.length === 0)
        return found.slice(0, COMMITS_LOOKED_AT);
      await this.#readOn(client);
    }
  }

  async #readOn(client: ClientBase): Promise<void> {
    const shas = this.#rest.splice(0, CHUNK);
    const { rows } = await client.query<{ sha: string; committed_at: string; changed_paths: string[] }>({
      name: 'mainline-commits',
      text: 'select sha, committed_at, changed_paths from commits where repo_id = $1 and sha = any($2::text[])',
      values: [this.#repo.id, shas],
    });
    const bySha = new Map(rows.map((row) => [row.sha, row]));
    for (const sha of shas) {
      const row = bySha.get(sha);
      const files = row?.changed_paths.filter((path) => MANIFEST.test(path)) ?? [];
      if (row && files.length > 0 && files.length <= FILES_LOOKED_AT)
        this.#read.push({ sha, committedAt: parseMicros(row.committed_at)!, files });
    }
  }
}
