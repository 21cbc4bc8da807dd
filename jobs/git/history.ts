import { existsSync } from 'node:fs';
import { assertSha, repositoryPath } from './content.js';
import { gitText, runGit } from './git-process.js';

/** Whether the mirror has that commit. */
export async function hasCommit(folder: string, sha: string): Promise<boolean> {
  // Mirrors are on the disk of whoever fetches; another process may not have them.
  if (!existsSync(folder)) return false;
  const { code } = await runGit({
    folder,
    args: ['cat-file', '-e', `${assertSha(sha)}^{commit}`],
    accept: [0, 1, 128],
  });
  return code === 0;
}

/** Whether `ancestor` is `sha` or among what it was made from. @throws GitError where the mirror lacks either */
export async function isAncestor(folder: string, ancestor: string, sha: string): Promise<boolean> {
  const { code } = await runGit({
    folder,
    args: ['merge-base', '--is-ancestor', assertSha(ancestor), assertSha(sha)],
    accept: [0, 1],
  });
  return code === 0;
}

/** The best common ancestors of two commits; more than one after criss-cross merges, none for unrelated histories. */
export async function mergeBases(folder: string, a: string, b: string): Promise<string[]> {
  const { stdout } = await runGit({
    folder,
    args: ['merge-base', '--all', assertSha(a), assertSha(b)],
    accept: [0, 1],
  });
  return stdout.toString('utf8').split('\n').filter(Boolean);
}

/**
 * The commits in (previous, sha] that touch a path or what is under it, newest first. Each commit is compared with its
 * first parent, a merge too: so nothing that changed the path on the way is left out, neither on a merged branch nor
 * by the merge itself.
 * @param previous undefined: all of the history
 * @param path '' for every commit
 */
export async function commitsTouching(
  folder: string,
  previous: string | undefined,
  sha: string,
  path: string,
): Promise<string[]> {
  const range = [assertSha(sha), ...(previous === undefined ? [] : [`^${assertSha(previous)}`])];
  const list = await gitText({ folder, args: ['rev-list', '--topo-order', ...range] });
  const at = repositoryPath(path);
  if (at === '' || list === '') return list.split('\n').filter(Boolean);
  const { stdout } = await runGit({
    folder,
    // With a path, diff-tree names only the commits that touch it.
    args: [
      'diff-tree',
      '--stdin',
      '--root',
      '-r',
      '-s',
      '--diff-merges=first-parent',
      '--format=%H',
      '--',
      `:(literal)${at}`,
    ],
    input: `${list}\n`,
  });
  return stdout.toString('utf8').split('\n').filter(Boolean);
}

/** The commits in (previous, sha], oldest first, merges left out unless asked for. */
export async function commitsBetween(
  folder: string,
  previous: string,
  sha: string,
  options: { merges: boolean } = { merges: true },
): Promise<string[]> {
  const args = ['rev-list', '--topo-order', '--reverse', ...(options.merges ? [] : ['--no-merges'])];
  const text = await gitText({ folder, args: [...args, assertSha(sha), `^${assertSha(previous)}`] });
  return text.split('\n').filter(Boolean);
}

/** A commit's first parent; undefined for a first commit. */
export async function firstParent(folder: string, sha: string, generations = 1): Promise<string | undefined> {
  const { code, stdout } = await runGit({
    folder,
    args: ['rev-parse', '--verify', '--quiet', '--end-of-options', `${assertSha(sha)}~${generations}`],
    accept: [0, 1, 128],
  });
  return code === 0 ? stdout.toString('utf8').trim() : undefined;
}

/** All parents of a commit. */
export async function parentsOf(folder: string, sha: string): Promise<string[]> {
  const text = await gitText({ folder, args: ['rev-list', '--parents', '-n', '1', assertSha(sha)] });
  return text.split(' ').slice(1);
}
