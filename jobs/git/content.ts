import { WhochangedError } from '../../core/errors.js';
import { gitText } from './git-process.js';

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

/** The tree of a commit. @throws GitError where the mirror doesn't have it */
export function treeOf(folder: string, sha: string): Promise<string> {
  return gitText({ folder, args: ['rev-parse', '--verify', '--end-of-options', `${assertSha(sha)}^{tree}`] });
}
