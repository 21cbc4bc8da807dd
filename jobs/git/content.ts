import { WhochangedError } from '../../core/errors.js';
import { gitText, runGit } from './git-process.js';

/** One file of a revision. `mode` is git's: 100644, 100755, 120000 (a symlink), 160000 (a submodule). */
export interface TreeEntry {
  path: string;
  mode: string;
  sha: string;
}

const SHA = /^[0-9a-f]{40}([0-9a-f]{24})?$/;

/** @throws WhochangedError `invalid_request` for what is no full commit id: nothing else is handed to git */
export function assertSha(sha: string): string {
  if (!SHA.test(sha))
    throw new WhochangedError('invalid_request', `"${sha.slice(0, 100)}" is no commit id`, {
      hint: 'give all 40 hexadecimal digits',
    });
  return sha;
}

/**
 * A path inside a repository, without `/` at its ends and without `.` and `..`; '' is the root.
 * @throws WhochangedError `invalid_request` where it leads out of it
 */
export function repositoryPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      if (parts.pop() === undefined)
        throw new WhochangedError(
          'invalid_request',
          `the path "${path.slice(0, 200)}" leads out of the repository`,
        );
    } else parts.push(part);
  }
  const clean = parts.join('/');
  if (/[\0\n]/.test(clean)) throw new WhochangedError('invalid_request', 'a path holds a line end or NUL');
  return clean;
}

/**
 * The id of the tree or file at a path of a revision: equal ids, equal content. Undefined where there is none.
 * @param path '' for the root
 */
export async function objectAt(folder: string, sha: string, path: string): Promise<string | undefined> {
  const at = repositoryPath(path);
  // `sha:` is the root's tree; `sha^{tree}` says the same where sha is a tag.
  const name = `${assertSha(sha)}:${at}`;
  const { code, stdout } = await runGit({
    folder,
    args: ['rev-parse', '--verify', '--quiet', '--end-of-options', name],
    accept: [0, 1, 128],
  });
  const id = stdout.toString('utf8').trim();
  return code === 0 && SHA.test(id) ? id : undefined;
}

/** All files at a revision at or under a path, by path. Submodules are entries of mode 160000 without content here. */
export async function filesAt(folder: string, sha: string, path = ''): Promise<TreeEntry[]> {
  const at = repositoryPath(path);
  const args = ['ls-tree', '-r', '-z', '--full-tree', assertSha(sha)];
  // Pathspecs of ls-tree are plain prefixes, no globs.
  if (at !== '') args.push('--', at);
  const { stdout } = await runGit({ folder, args });
  return stdout
    .toString('utf8')
    .split('\0')
    .filter(Boolean)
    .map((line) => {
      const [, mode, id, name] = /^(\d+) \w+ ([0-9a-f]+)\t([\s\S]+)$/.exec(line)!;
      return { mode: mode!, sha: id!, path: name! };
    });
}

/** A file's content at a revision; undefined where there is none. */
export async function fileAt(folder: string, sha: string, path: string): Promise<Buffer | undefined> {
  const id = await objectAt(folder, sha, path);
  if (id === undefined) return undefined;
  const { code, stdout } = await runGit({ folder, args: ['cat-file', 'blob', id], accept: [0, 128] });
  return code === 0 ? stdout : undefined;
}

/** The tree of a commit. @throws GitError where the mirror doesn't have it */
export function treeOf(folder: string, sha: string): Promise<string> {
  return gitText({ folder, args: ['rev-parse', '--verify', '--end-of-options', `${assertSha(sha)}^{tree}`] });
}
