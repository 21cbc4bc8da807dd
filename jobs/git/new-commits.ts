import { parseCommitObject } from '../../core/git/commit-object.js';
import { coAuthorsOf } from '../../core/git/trailers.js';
import type { NewCommit } from '../../store/commits.js';
import { runGit } from './git-process.js';
import type { GitObjects } from './objects.js';
import { type Signers, verifySignatures } from './signatures.js';

const MOST_MESSAGE = 64 * 1024;

/**
 * The ids of the commits that lead to `tips` and not to `known`, parents before children. What of `known` the mirror
 * lacks (it was made anew) is passed over.
 */
export async function listNewCommits(
  folder: string,
  tips: readonly string[],
  known: readonly string[],
): Promise<string[]> {
  if (tips.length === 0) return [];
  const input = [...tips, ...known.map((sha) => `^${sha}`)].map((line) => `${line}\n`).join('');
  const { stdout } = await runGit({
    folder,
    args: ['rev-list', '--topo-order', '--reverse', '--ignore-missing', '--stdin'],
    input,
    timeoutMs: 1_800_000,
  });
  return stdout.toString('latin1').split('\n').filter(Boolean);
}

/**
 * Reads commits as they are to be indexed: one process for all objects, one for all changed paths, and one more where
 * there are signatures to verify.
 * @param redactText takes secrets out of what people wrote
 */
export async function readCommits(
  folder: string,
  objects: GitObjects,
  shas: readonly string[],
  options: { signers: Signers; redactText: (text: string) => string },
): Promise<NewCommit[]> {
  const [contents, changed] = await Promise.all([
    Promise.all(shas.map((sha) => objects.read(sha))),
    readChangedPaths(folder, shas),
  ]);
  const parsed = contents.map((object, i) => {
    if (object === undefined) throw new Error(`the mirror lacks commit ${shas[i]}`);
    return parseCommitObject(object.content);
  });
  const signed = shas.filter((_, i) => parsed[i]!.signed);
  const verified = signed.length > 0 ? await verifySignatures(folder, signed, options.signers) : new Map();
  return shas.map((sha, i) => {
    const { signed: isSigned, ...commit } = parsed[i]!;
    const { signature, signer } = isSigned
      ? (verified.get(sha) ?? { signature: 'unverified' as const, signer: undefined })
      : { signature: 'none' as const, signer: undefined };
    return {
      ...commit,
      sha,
      subject: options.redactText(commit.subject),
      message: options.redactText(commit.message.slice(0, MOST_MESSAGE)),
      trailers: commit.trailers.map(([key, value]) => [key, options.redactText(value)] as const),
      coAuthors: coAuthorsOf(commit.trailers),
      signature,
      signer,
      changedPaths: changed.get(sha) ?? [],
    };
  });
}

/** What each commit changes against its first parent; a rename counts as both its names. */
async function readChangedPaths(folder: string, shas: readonly string[]): Promise<Map<string, string[]>> {
  const { stdout } = await runGit({
    folder,
    args: [
      'diff-tree',
      '--stdin',
      '--root',
      '-r',
      '--raw',
      '-z',
      '--no-renames',
      '--diff-merges=first-parent',
    ],
    input: shas.map((sha) => `${sha}\n`).join(''),
    timeoutMs: 600_000,
  });
  const changed = new Map<string, string[]>();
  let paths: string[] = [];
  let isPath = false;
  // A commit's id, then for each path `:modes ids letter` and the path.
  for (const token of stdout.toString('utf8').split('\0')) {
    if (isPath) {
      paths.push(token);
      isPath = false;
    } else if (token.startsWith(':')) isPath = true;
    else if (token !== '') {
      paths = [];
      changed.set(token, paths);
    }
  }
  return changed;
}
