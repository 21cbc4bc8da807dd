import type { ClientBase } from 'pg';
import { findingKind, refChanges } from '../../core/git/ref-updates.js';
import { parseMicros } from '../../core/timestamp.js';
import { appendCommits, findIndexed, findSigned, updateSignatures } from '../../store/commits.js';
import {
  findRefs,
  type MirroredRepo,
  type Ref,
  type RefUpdate,
  type RepoFinding,
  recordFetch,
  writeRefs,
} from '../../store/repos.js';
import { gitText } from './git-process.js';
import { hasCommit, isAncestor } from './history.js';
import { keepCommits, listRefs } from './mirror.js';
import { listNewCommits, readCommits } from './new-commits.js';
import { GitObjects } from './objects.js';
import { type Signers, signersDigest, verifySignatures } from './signatures.js';

/** Commits per transaction. */
const CHUNK = 2000;

/** Runs database work so that no other runs on the same connection meanwhile. */
export type Exclusively = <T>(work: (client: ClientBase) => Promise<T>) => Promise<T>;

export interface IndexOptions {
  exclusively: Exclusively;
  signers: Signers;
  redactText: (text: string) => string;
  /** When the fetch began, RFC 3339: the mirror is as of then. */
  startedAt: string;
  headRef: string | undefined;
  signal: AbortSignal | undefined;
}

/**
 * Brings the index up to what the mirror holds. Only new commits are read; they are committed in pieces, so that a run
 * that breaks off is gone on with. Refs are written last, with everything of the fetch: the index is never ahead of
 * what it says.
 * @returns how many commits are new
 */
export async function indexRepo(folder: string, repo: MirroredRepo, options: IndexOptions): Promise<number> {
  const { exclusively } = options;
  const before = await exclusively((client) => findRefs(client, repo.id));
  const after = await listRefs(folder);
  const updates = await classify(folder, before, after);
  // Before anything else: what the repository has lost must outlive the next garbage collection.
  const lost = updates
    .filter(({ kind }) => kind === 'forced' || kind === 'deleted')
    .map((update) => update.before!);
  await keepCommits(folder, await present(folder, lost));

  const known = [...new Set([...before.values()].map((ref) => ref.sha))];
  const tips = [...new Set(updates.flatMap((update) => update.after ?? []))];
  const indexed = await indexCommits(folder, repo.id, await listNewCommits(folder, tips, known), options);

  const digest = await signersDigest(options.signers);
  if (repo.signersDigest !== undefined && repo.signersDigest !== digest)
    await verifyAgain(folder, repo.id, options);
  const moved = new Set(updates.map((update) => update.name));
  const defaultRef = repo.defaultBranch
    ? `refs/heads/${repo.defaultBranch}`
    : (options.headRef ?? repo.headRef);
  const findings = await findingsOf(folder, updates, defaultRef, repo.fetchedAt);
  await exclusively(async (client) => {
    await client.query('begin');
    await writeRefs(
      client,
      repo.id,
      { changed: after.filter((ref) => moved.has(ref.name)), updates, findings },
      { seenAt: options.startedAt, since: repo.fetchedAt },
    );
    await recordFetch(client, repo.id, {
      startedAt: options.startedAt,
      headRef: options.headRef,
      signersDigest: digest,
    });
    await client.query('commit');
  });
  return indexed;
}

async function indexCommits(
  folder: string,
  repoID: number,
  shas: readonly string[],
  options: IndexOptions,
): Promise<number> {
  if (shas.length === 0) return 0;
  const { exclusively, signal } = options;
  const objects = new GitObjects(folder);
  let indexed = 0;
  try {
    for (let at = 0; at < shas.length; at += CHUNK) {
      signal?.throwIfAborted();
      const chunk = shas.slice(at, at + CHUNK);
      const there = await exclusively((client) => findIndexed(client, repoID, chunk));
      const missing = chunk.filter((sha) => !there.has(sha));
      if (missing.length === 0) continue;
      const commits = await readCommits(folder, objects, missing, options);
      await exclusively(async (client) => {
        await client.query('begin');
        await appendCommits(client, repoID, commits, parseMicros(options.startedAt)!);
        await client.query('commit');
      });
      indexed += commits.length;
    }
  } finally {
    objects.close();
  }
  return indexed;
}

async function classify(
  folder: string,
  before: ReadonlyMap<string, Ref>,
  after: readonly Ref[],
): Promise<RefUpdate[]> {
  const updates: RefUpdate[] = [];
  for (const change of refChanges(before, after)) {
    let kind: RefUpdate['kind'] = 'forced';
    if (change.before === undefined) kind = 'created';
    else if (change.after === undefined) kind = 'deleted';
    // What the mirror doesn't have can't be in the history of what it has.
    else if (
      (await hasCommit(folder, change.before)) &&
      (await isAncestor(folder, change.before, change.after))
    )
      kind = 'fast_forward';
    updates.push({ ...change, kind });
  }
  return updates;
}

async function present(folder: string, shas: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const sha of new Set(shas)) if (await hasCommit(folder, sha)) found.push(sha);
  return found;
}

async function findingsOf(
  folder: string,
  updates: readonly RefUpdate[],
  defaultRef: string | undefined,
  since: string | undefined,
): Promise<RepoFinding[]> {
  const findings: RepoFinding[] = [];
  for (const update of updates) {
    const kind = findingKind(update, defaultRef);
    if (kind === undefined) continue;
    findings.push({
      kind,
      subject: `${update.name} ${update.before?.slice(0, 12)} → ${update.after?.slice(0, 12) ?? 'gone'}`,
      detail: {
        ref: update.name,
        before: update.before,
        ...(update.after !== undefined && { after: update.after }),
        ...(since !== undefined && { since }),
        lostCommits: await countLost(folder, update),
      },
    });
  }
  return findings;
}

/** How many commits the ref led to before and doesn't now; undefined where the mirror lacks them. */
async function countLost(folder: string, { before, after }: RefUpdate): Promise<number | undefined> {
  if (before === undefined || !(await hasCommit(folder, before))) return undefined;
  const args = ['rev-list', '--count', before, ...(after === undefined ? [] : [`^${after}`])];
  return Number(await gitText({ folder, args }));
}

async function verifyAgain(folder: string, repoID: number, options: IndexOptions): Promise<void> {
  const shas = await options.exclusively((client) => findSigned(client, repoID));
  for (let at = 0; at < shas.length; at += CHUNK) {
    options.signal?.throwIfAborted();
    const chunk = await present(folder, shas.slice(at, at + CHUNK));
    const verified = [...(await verifySignatures(folder, chunk, options.signers))].map(([sha, result]) => ({
      sha,
      ...result,
    }));
    await options.exclusively((client) => updateSignatures(client, repoID, verified));
  }
}
