import type { Equivalence } from '../../core/approval/facts.js';
import type { CommitGraph } from '../../core/git/commit-graph.js';
import { parseCommitObject } from '../../core/git/commit-object.js';
import type { Merged } from './equivalence.js';
import { mergeBases } from './history.js';
import type { GitObjects } from './objects.js';
import { FOLDER, readTree } from './trees.js';

/**
 * Proves that a merged commit is the merge or the squash of an approved head, where no file was changed on both sides:
 * then each entry of its trees must be that of the side which changed it. It takes no process of git's, where recomputing
 * takes several (equivalence.ts), and most merges are so.
 * @param graph of the repository's commits; without it git is asked for the merge base
 * @returns undefined where that proves nothing: then it must be recomputed
 */
export async function plainEquivalence(
  objects: GitObjects,
  folder: string,
  { approvedHead, mergeSha, method }: Merged,
  graph?: CommitGraph,
): Promise<Equivalence | undefined> {
  const [head, merged] = await Promise.all([commitOf(objects, approvedHead), commitOf(objects, mergeSha)]);
  if (!head || !merged) return undefined;
  if (approvedHead === mergeSha) return { kind: 'ancestor' };
  const [parent, second, ...more] = merged.parents;
  const isMerge = second === approvedHead && more.length === 0;
  if (parent === undefined || (second !== undefined && !isMerge)) return undefined;
  const bases = graph?.mergeBases(approvedHead, parent) ?? (await mergeBases(folder, approvedHead, parent));
  const [base] = bases;
  if (base === undefined || bases.length > 1) return undefined;
  if (!isMerge && base === approvedHead) return { kind: 'ancestor' };
  if (!isMerge && method === 'rebase') return undefined;
  const [common, ours] = await Promise.all([commitOf(objects, base), commitOf(objects, parent)]);
  if (!common || !ours) return undefined;
  const trees = { base: common.tree, ours: ours.tree, theirs: head.tree, result: merged.tree };
  if (!(await isPlainMerge(objects, trees))) return undefined;
  return isMerge
    ? { kind: 'ancestor' }
    : {
        kind: 'equal_tree',
        detail: `tree ${merged.tree}: ${approvedHead.slice(0, 12)} merged into ${parent.slice(0, 12)}`,
      };
}

async function commitOf(objects: GitObjects, sha: string) {
  const object = await objects.read(sha);
  return object?.type === 'commit' ? parseCommitObject(object.content) : undefined;
}

type Sides<T> = Record<'base' | 'ours' | 'theirs' | 'result', T>;

/** Whether every entry is that of the side which changed it; false where both changed a file, or it is neither's. */
async function isPlainMerge(objects: GitObjects, shas: Sides<string | undefined>): Promise<boolean> {
  const [base, ours, theirs, result] = await Promise.all(
    [shas.base, shas.ours, shas.theirs, shas.result].map((sha) => entriesOf(objects, sha)),
  );
  if (!base || !ours || !theirs || !result) return false;
  for (const name of new Set([...base.keys(), ...ours.keys(), ...theirs.keys(), ...result.keys()])) {
    const [b, o, t, r] = [base.get(name), ours.get(name), theirs.get(name), result.get(name)];
    if (o === t || b === o || b === t) {
      if ((o === t || b === t ? o : t) !== r) return false;
      continue;
    }
    if (![o, t, r].every((entry) => entry?.startsWith(`${FOLDER} `))) return false;
    const below = {
      base: b?.startsWith(`${FOLDER} `) ? shaOf(b) : undefined,
      ours: shaOf(o!),
      theirs: shaOf(t!),
      result: shaOf(r!),
    };
    if (!(await isPlainMerge(objects, below))) return false;
  }
  return true;
}

function shaOf(entry: string): string {
  return entry.slice(entry.indexOf(' ') + 1);
}

/** Mode and id by name; undefined where it is no tree that is there. */
async function entriesOf(
  objects: GitObjects,
  sha: string | undefined,
): Promise<Map<string, string> | undefined> {
  if (sha === undefined) return new Map();
  const tree = await objects.read(sha);
  if (tree?.type !== 'tree') return undefined;
  return new Map(readTree(tree).map(({ mode, name, sha: id }) => [name, `${mode} ${id}`]));
}
