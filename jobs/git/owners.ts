import type { KnownOwners } from '../../core/approval/facts.js';
import type { GitObjects } from './objects.js';

/** Where hosts look for it, in their order: GitHub's, then what only GitLab knows. */
const PLACES = ['.github/CODEOWNERS', 'CODEOWNERS', 'docs/CODEOWNERS', '.gitlab/CODEOWNERS'];
/** GitHub reads no larger one; what is larger owns nothing there. */
const MOST_BYTES = 3 * 1024 * 1024;

/** Who owned what at a revision, by the first CODEOWNERS file that there is. */
export async function readOwners(objects: GitObjects, revision: string): Promise<KnownOwners> {
  const commit = await objects.read(`${revision}^{commit}`);
  if (!commit) return { unknown: `${revision} is not in the mirror` };
  for (const path of PLACES) {
    const file = await objects.read(`${commit.sha}:${path}`);
    if (file?.type !== 'blob') continue;
    if (file.content.length > MOST_BYTES) return { unknown: `${path} is larger than ${MOST_BYTES} bytes` };
    return { file: { path, text: file.content.toString('utf8') }, at: commit.sha };
  }
  return { file: undefined, at: commit.sha };
}
