import type { Person, PullRequest } from '../approval/facts.js';

/** What a webhook delivery of a git host tells. Times in microseconds. */
export interface HostDelivery {
  /** The repository's path on its host, such as acme/shop. */
  project: string;
  action?: string;
  /** Pull requests to look at again, and when what the delivery names changed. */
  due: Array<{ number: number; changedAt: number }>;
  /** The facts in the payload itself, for where the API can't be asked. */
  pullRequest?: { head: Omit<PullRequest, 'repo'>; updatedAt: number };
  push?: { ref: string; before: string; after: string; pusher: Person; pushedAt: number };
  /** Approvals of deployments: without the repository's name in whochanged, and the time, which no payload holds. */
  approvals: Array<{ id: string; sha: string; environment: string; approver: Person; url?: string }>;
}
