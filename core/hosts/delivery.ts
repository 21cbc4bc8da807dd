import type { Person, PullRequest } from '../approval/facts.js';
import { WhochangedError } from '../errors.js';

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

/**
 * Reads a payload whose shape is the host's promise. Whoever has the secret may break it all the same.
 * @throws WhochangedError `invalid_request` where a field is of another type than the host sends
 */
export function asPromised<T>(host: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new WhochangedError('invalid_request', `the payload is not as ${host} sends it`, { cause: error });
  }
}
