import type { Equivalence, MergeMethod } from '../../core/approval/facts.js';
import { assertSha, treeOf } from './content.js';
import { gitIsAtLeast, gitText, gitVersion, runGit } from './git-process.js';
import { commitsBetween, firstParent, hasCommit, isAncestor, mergeBases, parentsOf } from './history.js';

const MOST_PATHS = 10;
/** A rebase of more commits than this is judged by its tree alone. */
const MOST_REBASED = 500;

export interface Merged {
  /** The head that was approved. */
  approvedHead: string;
  /** The commit on the base branch that it became. */
  mergeSha: string;
  /** As the host tells it; what it doesn't tell is tried. */
  method?: MergeMethod | undefined;
}

/**
 * How a merged commit stands to the head that was approved, recomputed from trees; nothing that a host says of it is
 * taken for granted.
 *
 * - The head is in its history: `ancestor`. Is the merged commit the very merge of it, the merge is recomputed too, and
 *   `different` where it holds changes that neither side has and that git didn't make.
 * - Merging the head into the merged commit's first parent gives its tree (squash, queue), or merging it into the
 *   commit below as many as were approved does (rebase), or each commit has the patch of an approved one: `equal_tree`.
 * - Else `different`, or `unknown` where it can't be recomputed: a commit isn't in the mirror, the merge has conflicts,
 *   or git is older than 2.38.
 */
export async function recomputeEquivalence(folder: string, merged: Merged): Promise<Equivalence> {
  const { approvedHead: head, mergeSha } = merged;
  for (const sha of [head, mergeSha]) {
    if (!(await hasCommit(folder, assertSha(sha))))
      return { kind: 'unknown', detail: `commit ${sha} is not in the mirror` };
  }
  if (await isAncestor(folder, head, mergeSha)) return judgeMerge(folder, head, mergeSha);
  if (!(await gitIsAtLeast(2, 38)))
    return {
      kind: 'unknown',
      detail: `git ${await gitVersion()} can't recompute merges; 2.38 or later can`,
    };
  const tree = await treeOf(folder, mergeSha);
  const tried: string[] = [];
  const parent = await firstParent(folder, mergeSha);
  let conflict = false;
  if (parent !== undefined && merged.method !== 'rebase') {
    const squashed = await mergeTree(folder, parent, head);
    if (squashed.tree === tree)
      return { kind: 'equal_tree', detail: `tree ${tree}: ${short(head)} merged into ${short(parent)}` };
    conflict ||= squashed.conflicts.length > 0;
    tried.push(await difference(folder, squashed, tree, parent));
  }
  if (merged.method !== 'squash') {
    const rebased = await judgeRebase(folder, head, mergeSha, tree);
    if (rebased?.kind === 'equal_tree') return rebased;
    if (rebased?.detail !== undefined) tried.push(rebased.detail);
    if (rebased?.kind === 'unknown') conflict = true;
  }
  const detail = tried.join('; ') || 'the merged commit has no parent to recompute it from';
  return { kind: conflict || tried.length === 0 ? 'unknown' : 'different', detail };
}

/** The head is an ancestor. Where the merged commit is the merge of it, that must be what git makes of the two. */
async function judgeMerge(folder: string, head: string, mergeSha: string): Promise<Equivalence> {
  const parents = await parentsOf(folder, mergeSha);
  if (parents.length !== 2 || !parents.includes(head) || !(await gitIsAtLeast(2, 38)))
    return { kind: 'ancestor' };
  const [first, second] = parents as [string, string];
  const tree = await treeOf(folder, mergeSha);
  const recomputed = await mergeTree(folder, first, second);
  if (recomputed.tree === tree) return { kind: 'ancestor' };
  if (recomputed.conflicts.length > 0) {
    const files = listed(recomputed.conflicts);
    return { kind: 'ancestor', detail: `conflicts were resolved in the merge itself: ${files}` };
  }
  return {
    kind: 'different',
    detail: `the merge itself changes what neither side has: ${await changedBetween(folder, recomputed.tree!, tree)}`,
  };
}

/** As many commits as were approved, ending at the merged one, each with the patch of its approved counterpart. */
async function judgeRebase(
  folder: string,
  head: string,
  mergeSha: string,
  tree: string,
): Promise<Equivalence | undefined> {
  const [base] = await mergeBases(folder, head, mergeSha);
  if (base === undefined) return { kind: 'different', detail: 'the two have no common ancestor' };
  const approved = await commitsBetween(folder, base, head, { merges: false });
  const onto = await firstParent(folder, mergeSha, approved.length);
  if (approved.length < 2 && onto === undefined) return undefined;
  if (onto === undefined || approved.length > MOST_REBASED) return undefined;
  const replayed = await commitsBetween(folder, onto, mergeSha);
  if (replayed.length !== approved.length) return undefined;
  const recomputed = await mergeTree(folder, onto, head);
  if (recomputed.tree === tree)
    return {
      kind: 'equal_tree',
      detail: `tree ${tree}: ${approved.length} commits of ${short(head)} rebased onto ${short(onto)}`,
    };
  const patches = await Promise.all([patchIDs(folder, approved), patchIDs(folder, replayed)]);
  const other = approved.findIndex((sha, i) => patches[0].get(sha) !== patches[1].get(replayed[i]!));
  if (other < 0)
    return {
      kind: 'equal_tree',
      detail: `each of ${approved.length} commits has the patch of an approved one`,
    };
  return {
    kind: recomputed.conflicts.length > 0 && approved.length === 1 ? 'unknown' : 'different',
    detail: `as a rebase: ${short(replayed[other]!)} has another patch than ${short(approved[other]!)}`,
  };
}

/** The tree of merging two commits; without one where they conflict, with the files that do. */
async function mergeTree(
  folder: string,
  ours: string,
  theirs: string,
): Promise<{ tree: string | undefined; conflicts: string[] }> {
  const { code, stdout } = await runGit({
    folder,
    args: [
      'merge-tree',
      '--write-tree',
      '--name-only',
      '-z',
      '--no-messages',
      '--allow-unrelated-histories',
      ours,
      theirs,
    ],
    settings: [['merge.renames', 'true']],
    accept: [0, 1],
  });
  const [tree, ...files] = stdout.toString('utf8').split('\0').filter(Boolean);
  return code === 0 ? { tree, conflicts: [] } : { tree: undefined, conflicts: files };
}

async function difference(
  folder: string,
  recomputed: { tree: string | undefined; conflicts: string[] },
  tree: string,
  parent: string,
): Promise<string> {
  if (recomputed.tree === undefined)
    return `merging into ${short(parent)} has conflicts in ${listed(recomputed.conflicts)}`;
  return `merged into ${short(parent)} it would be tree ${recomputed.tree}; it is ${tree}, which differs in ${await changedBetween(folder, recomputed.tree, tree)}`;
}

async function changedBetween(folder: string, before: string, after: string): Promise<string> {
  const text = await gitText({
    folder,
    args: ['diff-tree', '-r', '-z', '--name-only', '--no-renames', before, after],
  });
  return listed(text.split('\0').filter(Boolean));
}

function listed(paths: string[]): string {
  const more = paths.length - MOST_PATHS;
  return paths.slice(0, MOST_PATHS).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

/**
 * Each commit's patch id. White space counts (`--verbatim`, git 2.39): in YAML it means something. Older git knows only
 * ids that leave it out, and those are no proof, so it gives none.
 */
async function patchIDs(folder: string, shas: string[]): Promise<Map<string, string>> {
  if (!(await gitIsAtLeast(2, 39))) return new Map(shas.map((sha) => [sha, sha]));
  const patches = await runGit({
    folder,
    args: ['diff-tree', '--stdin', '-p', '--root', '--no-renames', '--full-index', '--binary'],
    input: `${shas.join('\n')}\n`,
  });
  const ids = await gitText({ folder, args: ['patch-id', '--verbatim'], input: patches.stdout });
  // A commit that changes nothing has no patch, and so no id: it stands for itself.
  const known = new Map(shas.map((sha) => [sha, 'empty']));
  for (const line of ids.split('\n')) {
    const [id, sha] = line.split(' ');
    if (id && sha) known.set(sha, id);
  }
  return known;
}

function short(sha: string): string {
  return sha.slice(0, 12);
}
