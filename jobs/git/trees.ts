import type { GitObject, GitObjects } from './objects.js';

/** One entry of a tree. `mode` is git's: 40000 (a folder), 100644, 100755, 120000 (a link), 160000 (a submodule). */
export interface TreeItem {
  mode: string;
  name: string;
  sha: string;
}

export const FOLDER = '40000';

/** The entries of a tree object (git's Documentation/gitformat-pack: mode, name, NUL, id in bytes). */
export function readTree({ content, sha }: GitObject): TreeItem[] {
  const bytes = sha.length / 2;
  const items: TreeItem[] = [];
  for (let at = 0; at < content.length; ) {
    const space = content.indexOf(0x20, at);
    const end = content.indexOf(0, space);
    items.push({
      mode: content.toString('latin1', at, space),
      name: content.toString('utf8', space + 1, end),
      sha: content.toString('hex', end + 1, end + 1 + bytes),
    });
    at = end + 1 + bytes;
  }
  return items;
}

/** A file under a tree, its path relative to it. */
export interface TreeFile extends Omit<TreeItem, 'name'> {
  path: string;
}

/**
 * The files in a tree, by path, links and submodules among them.
 * @param recurse whether those of the folders below it too
 * @returns undefined where there are more than `most`
 */
export async function filesIn(
  objects: GitObjects,
  tree: GitObject,
  recurse: boolean,
  most: number,
): Promise<TreeFile[] | undefined> {
  const files: TreeFile[] = [];
  const open: Array<{ tree: GitObject; prefix: string }> = [{ tree, prefix: '' }];
  for (let next = open.pop(); next; next = open.pop()) {
    for (const { mode, name, sha } of readTree(next.tree)) {
      const path = next.prefix + name;
      if (mode !== FOLDER) files.push({ mode, sha, path });
      else if (recurse) {
        const below = await objects.read(sha);
        if (below) open.push({ tree: below, prefix: `${path}/` });
      }
    }
    if (files.length > most) return undefined;
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}
