import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assertSha } from './content.js';
import { runGit } from './git-process.js';

/**
 * Has something done with a revision's files, in a folder of their own that is gone afterwards. Links become files that
 * hold where they lead.
 * @param act `tree`: where the files are; `work`: the folder around it, for whatever else is needed
 */
export async function withCheckedOut<T>(
  folder: string,
  sha: string,
  act: (places: { tree: string; work: string }) => Promise<T>,
): Promise<T> {
  const work = await mkdtemp(join(tmpdir(), 'whochanged-render-'));
  const tree = join(work, 'tree');
  try {
    // A mirror is bare: only by the environment does git take a folder for its work tree.
    const environment = { GIT_INDEX_FILE: join(work, 'index'), GIT_WORK_TREE: work };
    await runGit({ folder, args: ['read-tree', assertSha(sha)], environment });
    await runGit({
      folder,
      args: ['checkout-index', '--all', `--prefix=${tree}/`],
      environment,
      settings: [['core.symlinks', 'false']],
    });
    return await act({ tree, work });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
