import type { ImportedApproval, Person } from '../../core/approval/facts.js';
import type { ToldRun } from '../../store/facts/ci-runs.js';
import type { Permission } from '../../store/facts/permissions.js';
import type { ToldPullRequest } from '../../store/facts/pull-requests.js';
import type { Bypass, Push } from '../../store/facts/pushes.js';

/** A pull request that changed, as a listing names it. Times in microseconds. */
export interface Listed {
  number: number;
  changedAt: number;
}

/** What is already known, so that it need not be asked for. */
export interface Known {
  /** Answers' tags, by URL (If-None-Match). */
  etag(url: string): Promise<string | undefined>;
  keepEtag(url: string, etag: string): Promise<void>;
  /** Who a push webhook said pushed that head. */
  pusher(ref: string, sha: string): Promise<{ pusher: Person; pushedAt: number } | undefined>;
  /** The ids among these that are not stored. */
  newBypasses(ids: readonly string[]): Promise<Set<string>>;
}

/** A page of what a host tells besides pull requests, and through when it is complete. */
export interface Told<T> {
  items: T[];
  through?: number;
}

/** One pull request, with what else was learnt on the way. */
export interface Fetched {
  told: ToldPullRequest;
  pushes: Push[];
  bypasses?: Bypass[];
}

/** One repository on its host. What its credential may not see is said by `limits`, never taken for absent. */
export interface Host {
  /**
   * Pull requests that changed at or after `since`, in pieces, the latest first. Undefined `since`: all of them.
   * @throws HostBusy, HostError
   */
  list(since: number | undefined): AsyncIterable<Listed[]>;
  /** Everything about one; undefined where the host has none of that number. */
  fetch(number: number): Promise<Fetched | undefined>;
  /** What somebody may do in the repository; undefined where the host doesn't say. */
  permission(login: string): Promise<Permission | undefined>;
  bypasses(since: number | undefined, now: Date): Promise<Told<Bypass>>;
  /** Approvals that the host gives to other things than pull requests, such as deployments to an environment. */
  approvals(since: number | undefined, now: Date): Promise<Told<ImportedApproval>>;
  /** One run of a pipeline; undefined where the host has none of that name, or no pipelines. */
  run(name: string): Promise<ToldRun | undefined>;
  limits: Set<string>;
}
