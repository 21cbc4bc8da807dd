import type { Person } from '../../core/approval/facts.js';
import { githubPerson } from '../../core/hosts/github.js';
import { parseMicros } from '../../core/timestamp.js';
import type { Push } from '../../store/facts/pushes.js';
import { found, type GithubRepo, isForbidden, isNotFound } from './github.js';

const PAGE = 100;
/** Pages of activity read back in search of who pushed a head. */
const ACTIVITY_PAGES = 3;

/** Approvals that a branch asks for now: by rulesets, which anyone may read, and by protection, which admins may. */
export async function findRequiredApprovals(
  { octokit, owner, repo, limits }: GithubRepo,
  branch: string,
): Promise<number | undefined> {
  const counts: number[] = [];
  let seen = true;
  try {
    const rules = await octokit.paginate(octokit.rest.repos.getBranchRules, {
      owner,
      repo,
      branch,
      per_page: PAGE,
    });
    for (const rule of rules)
      if (rule.type === 'pull_request') counts.push(rule.parameters?.required_approving_review_count ?? 0);
  } catch (error) {
    if (!isForbidden(error)) throw error;
    limits.add(`rulesets of branches: ${error.message}`);
    seen = false;
  }
  try {
    const protection = await found(octokit.rest.repos.getBranchProtection({ owner, repo, branch }));
    const count = protection?.data.required_pull_request_reviews?.required_approving_review_count;
    if (count !== undefined) counts.push(count);
  } catch (error) {
    if (!isForbidden(error)) throw error;
    limits.add(`branch protection: ${error.message}`);
    seen = false;
  }
  if (counts.length > 0) return Math.max(...counts);
  return seen ? 0 : undefined;
}

/** Who pushed a head: by a webhook that said so, else by the repository's activity. */
export async function findGithubPusher(
  at: GithubRepo,
  project: string,
  head: { ref: string; sha: string },
): Promise<{ pusher: Person; pushedAt: number; push?: Push } | undefined> {
  const { octokit, known, limits } = at;
  const ref = `refs/heads/${head.ref}`;
  const own = project.toLowerCase() === `${at.owner}/${at.repo}`.toLowerCase();
  const told = own ? await known.pusher(ref, head.sha) : undefined;
  if (told) return told;
  const [owner = '', repo = ''] = project.split('/');
  const options = octokit.rest.repos.listActivities.endpoint.merge({ owner, repo, ref, per_page: PAGE });
  try {
    let pages = 0;
    for await (const page of octokit.paginate.iterator(options)) {
      const item = (page.data as Activity[]).find((one) => one.after === head.sha && one.actor);
      const pushedAt = parseMicros(item?.timestamp);
      if (item && pushedAt !== undefined) {
        const pusher = githubPerson(item.actor);
        const push = {
          id: `activity:${item.id}`,
          ref,
          before: item.before,
          after: item.after,
          pusher,
          pushedAt,
        };
        return own ? { pusher, pushedAt, push } : { pusher, pushedAt };
      }
      if (++pages === ACTIVITY_PAGES) return undefined;
    }
  } catch (error) {
    // A fork may be private, or gone.
    if (!isForbidden(error) && !isNotFound(error)) throw error;
    if (own) limits.add(`who pushed last: ${error.message}`);
  }
  return undefined;
}

interface Activity {
  id: number;
  before: string;
  after: string;
  timestamp: string;
  actor: { login: string; type?: string } | null;
}
