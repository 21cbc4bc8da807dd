import type { ImportedApproval } from '../approval/facts.js';
import { parseMicros } from '../timestamp.js';
import { asPromised, type HostDelivery } from './delivery.js';
import {
  type GithubPull,
  type GithubReview,
  type GithubUser,
  githubPerson,
  githubPull,
  githubReviews,
} from './github.js';

interface Payload {
  action?: string;
  repository?: { full_name?: string; pushed_at?: number | string };
  sender?: GithubUser;
  pull_request?: GithubPull;
  review?: GithubReview;
  ref?: string;
  before?: string;
  after?: string;
  approver?: GithubUser;
  workflow_run?: { id: number; head_sha: string; html_url?: string };
  workflow_job_run?: { environment?: string };
  workflow_job_runs?: Array<{ environment?: string }>;
}

const SHA = /^[0-9a-f]{40,64}$/;

/**
 * Reads a delivery by its X-GitHub-Event. Undefined where it names no repository; events that tell nothing of approvals
 * have nothing due. States of reviews are lower case here, and a closed pull request that wasn't merged has a
 * merge_commit_sha all the same.
 * @throws WhochangedError `invalid_request` where a field is of another type than GitHub sends
 */
export function githubDelivery(event: string, body: unknown, nowMicros: number): HostDelivery | undefined {
  return asPromised('GitHub', () => readDelivery(event, body, nowMicros));
}

function readDelivery(event: string, body: unknown, nowMicros: number): HostDelivery | undefined {
  const payload = (typeof body === 'object' && body !== null ? body : {}) as Payload;
  const project = payload.repository?.full_name;
  if (typeof project !== 'string') return undefined;
  const delivery: HostDelivery = { project, due: [], approvals: [] };
  if (typeof payload.action === 'string') delivery.action = payload.action;
  if (event === 'push') return withPush(delivery, payload, nowMicros);
  if (event === 'deployment_review') return withApprovals(delivery, payload);
  const pull = payload.pull_request;
  if (!/^pull_request/.test(event) || !pull || !Number.isInteger(pull.number)) return delivery;
  // A simple pull request, as reviews carry it, has no title of who merged it, but all its times.
  const decoded = isWhole(pull) ? githubPull(pull) : undefined;
  delivery.due.push({ number: pull.number, changedAt: Math.max(decoded?.updatedAt ?? 0, 0) || nowMicros });
  if (!decoded) return delivery;
  delivery.pullRequest = decoded;
  if (event === 'pull_request' && payload.action === 'synchronize' && payload.sender) {
    decoded.head.lastPusher = githubPerson(payload.sender);
    decoded.head.lastPushedAt = decoded.updatedAt;
  }
  if (event === 'pull_request_review' && payload.review) {
    const dismissed = payload.action === 'dismissed';
    decoded.head.reviews = githubReviews([payload.review], []).map((review) => ({
      ...review,
      // The payload of a dismissal has lost what the review was.
      ...(dismissed && {
        state: 'unknown' as const,
        dismissedAt: decoded.updatedAt,
        dismissedBy: githubPerson(payload.sender),
      }),
    }));
  }
  return delivery;
}

function isWhole(pull: GithubPull): boolean {
  return [pull.title, pull.html_url, pull.head?.sha, pull.base?.ref].every(
    (text) => typeof text === 'string',
  );
}

function withPush(delivery: HostDelivery, payload: Payload, nowMicros: number): HostDelivery {
  const { ref, before, after, sender } = payload;
  if (!ref?.startsWith('refs/heads/') || !SHA.test(before ?? '') || !SHA.test(after ?? '')) return delivery;
  if (/^0+$/.test(after!)) return delivery;
  const pushedAt = parseMicros(payload.repository?.pushed_at) ?? nowMicros;
  delivery.push = { ref, before: before!, after: after!, pusher: githubPerson(sender), pushedAt };
  return delivery;
}

function withApprovals(delivery: HostDelivery, payload: Payload): HostDelivery {
  const { workflow_run: run, approver } = payload;
  if (payload.action !== 'approved' || !run || !SHA.test(run.head_sha) || !approver?.login) return delivery;
  const names = [payload.workflow_job_run, ...(payload.workflow_job_runs ?? [])].map(
    (job) => job?.environment,
  );
  for (const environment of new Set(names))
    if (environment !== undefined)
      delivery.approvals.push({
        id: environmentApprovalID(run.id, environment, approver.login),
        sha: run.head_sha,
        environment,
        approver: githubPerson(approver),
        ...(run.html_url !== undefined && { url: run.html_url }),
      });
  return delivery;
}

/** The same by webhook and by API, so that what both tell is one approval. */
export function environmentApprovalID(run: number, environment: string, login: string): string {
  return `${run}:${environment}:${login}`;
}

export function environmentOrigin(environment: string): ImportedApproval['origin'] {
  return `github environment ${environment}`;
}
