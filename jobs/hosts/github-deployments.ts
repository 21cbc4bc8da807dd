import type { ImportedApproval } from '../../core/approval/facts.js';
import { githubPerson } from '../../core/hosts/github.js';
import { environmentApprovalID, environmentOrigin } from '../../core/hosts/github-webhook.js';
import { formatMicros, parseMicros } from '../../core/timestamp.js';
import { type GithubRepo, isForbidden, isNotFound } from './github.js';
import type { Told } from './host.js';

const PAGE = 100;
/** The first look goes back so far. */
const FIRST_LOOK_US = 30 * 86_400_000_000;
/** A run may wait for its approval for 30 days; those created so long before are looked at again. */
const OVERLAP_US = 86_400_000_000;

/**
 * Approvals of deployments to environments (REST "Get the review history for a workflow run"), as approvals of the
 * commit that ran. The API doesn't tell when: the run's last change is the latest that it can have been. Repositories
 * without an environment that asks for reviewers cost one request.
 */
export async function findGithubDeploymentReviews(
  { octokit, owner, repo, name, limits }: GithubRepo,
  since: number | undefined,
  now: Date,
): Promise<Told<ImportedApproval>> {
  const through = now.getTime() * 1000;
  const items: ImportedApproval[] = [];
  try {
    const { data } = await octokit.rest.repos.getAllEnvironments({ owner, repo, per_page: PAGE });
    const reviewed = (data.environments ?? []).some((environment) =>
      environment.protection_rules?.some((rule) => rule.type === 'required_reviewers'),
    );
    if (!reviewed) return { items, through };
    const from = since === undefined ? through - FIRST_LOOK_US : since - OVERLAP_US;
    const runs = await octokit.paginate(octokit.rest.actions.listWorkflowRunsForRepo, {
      owner,
      repo,
      created: `>=${formatMicros(from).slice(0, 19)}Z`,
      per_page: PAGE,
    });
    for (const run of runs) {
      const { data: reviews } = await octokit.rest.actions.getReviewsForRun({ owner, repo, run_id: run.id });
      for (const review of reviews) {
        if (review.state !== 'approved') continue;
        for (const environment of review.environments)
          items.push({
            id: environmentApprovalID(run.id, environment.name ?? '', review.user.login),
            subject: { kind: 'commit', repo: name, sha: run.head_sha },
            approver: githubPerson(review.user),
            approvedAt: parseMicros(run.updated_at)!,
            origin: environmentOrigin(environment.name ?? ''),
            url: run.html_url,
          });
      }
    }
    return { items, through };
  } catch (error) {
    if (!isForbidden(error) && !isNotFound(error)) throw error;
    limits.add(`approvals of deployments: ${error.message}`);
    return { items };
  }
}
