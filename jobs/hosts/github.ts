import { Octokit } from '@octokit/rest';
import type { ImportedApproval } from '../../core/approval/facts.js';
import {
  GITHUB_TRAIL,
  type GithubCommit,
  type GithubDismissal,
  githubCommit,
  githubLanding,
  githubPermission,
  githubPull,
  githubReviews,
} from '../../core/hosts/github.js';
import { parseMicros } from '../../core/timestamp.js';
import type { ToldRun } from '../../store/facts/ci-runs.js';
import type { Permission } from '../../store/facts/permissions.js';
import type { Bypass } from '../../store/facts/pushes.js';
import { findGithubPusher, findRequiredApprovals } from './github-branches.js';
import { findGithubBypasses } from './github-bypasses.js';
import { findGithubDeploymentReviews } from './github-deployments.js';
import { allGithubCommits, REST_COMMITS } from './github-graphql.js';
import type { Fetched, Host, Known, Listed, Told } from './host.js';
import { HostBusy, HostError, type HostHttp } from './host-http.js';

export const GITHUB_API_VERSION = '2022-11-28';
const PAGE = 100;

export interface GithubRepo {
  octokit: Octokit;
  owner: string;
  repo: string;
  /** The repository's name in whochanged. */
  name: string;
  known: Known;
  limits: Set<string>;
}

export interface GithubOptions {
  http: HostHttp;
  apiURL: string;
  token: string;
  /** Such as acme/shop. */
  project: string;
  name: string;
  known: Known;
}

/** A repository on github.com or GitHub Enterprise Server, by REST, and GraphQL where REST tells less. */
export class GithubHost implements Host {
  readonly limits = new Set<string>();
  readonly #at: GithubRepo;
  readonly #required = new Map<string, Promise<number | undefined>>();

  constructor(options: GithubOptions) {
    const [owner = '', repo = ''] = options.project.split('/');
    const octokit = new Octokit({
      auth: options.token,
      baseUrl: options.apiURL,
      userAgent: 'whochanged',
      request: { fetch: options.http.fetch },
      // What goes wrong is told by errors.
      log: { debug: ignore, info: ignore, warn: ignore, error: ignore },
    });
    octokit.hook.before('request', (request) => {
      request.headers['x-github-api-version'] = GITHUB_API_VERSION;
    });
    // octokit hides what our fetch threw in an error of its own.
    octokit.hook.error('request', (error) => {
      const { cause } = error;
      throw cause instanceof HostBusy || cause instanceof HostError ? cause : error;
    });
    this.#at = { octokit, owner, repo, name: options.name, known: options.known, limits: this.limits };
  }

  async *list(since: number | undefined): AsyncIterable<Listed[]> {
    const { octokit, owner, repo, known } = this.#at;
    const url = `/repos/${owner}/${repo}/pulls`;
    const etag = since === undefined ? undefined : await known.etag(url);
    const options = octokit.rest.pulls.list.endpoint.merge({
      owner,
      repo,
      state: 'all',
      sort: 'updated',
      direction: 'desc',
      per_page: PAGE,
      ...(etag !== undefined && { headers: { 'if-none-match': etag } }),
    });
    try {
      let first = true;
      for await (const page of octokit.paginate.iterator(options)) {
        if (first && page.headers.etag) await known.keepEtag(url, page.headers.etag);
        first = false;
        const items = (page.data as Array<{ number: number; updated_at: string }>).map((item) => ({
          number: item.number,
          changedAt: parseMicros(item.updated_at) ?? 0,
        }));
        const fresh = since === undefined ? items : items.filter((item) => item.changedAt >= since);
        if (fresh.length > 0) yield fresh;
        if (fresh.length < items.length) return;
      }
    } catch (error) {
      if ((error as { status?: number }).status !== 304) throw error;
    }
  }

  async fetch(number: number): Promise<Fetched | undefined> {
    const { octokit, owner, repo } = this.#at;
    const at = { owner, repo, pull_number: number };
    const pull = await found(octokit.rest.pulls.get(at));
    if (!pull) return undefined;
    const decoded = githubPull(pull.data);
    if (!decoded) throw new HostError(200, `${this.#at.name}#${number}: it has no times`);
    const [reviews, timeline, listed, requiredApprovals] = await Promise.all([
      octokit.paginate(octokit.rest.pulls.listReviews, { ...at, per_page: PAGE }),
      octokit.paginate(octokit.rest.issues.listEventsForTimeline, {
        owner,
        repo,
        issue_number: number,
        per_page: PAGE,
      }),
      octokit.paginate(octokit.rest.pulls.listCommits, { ...at, per_page: PAGE }),
      this.#requiredApprovals(decoded.head.baseRef),
    ]);
    let commits = listed as GithubCommit[];
    let { mergeSha } = decoded.head;
    if (
      (commits.length >= REST_COMMITS && pull.data.commits > REST_COMMITS) ||
      (decoded.head.state === 'merged' && !mergeSha)
    ) {
      const all = await allGithubCommits(this.#at, number);
      commits = all.commits;
      mergeSha ??= all.mergeSha;
    }
    const queued = (timeline as GithubDismissal[]).some((event) => event.event === 'added_to_merge_queue');
    const landing =
      mergeSha === undefined
        ? undefined
        : githubLanding(
            { headSha: decoded.head.headSha, mergeSha },
            commits,
            await this.#trail(mergeSha, commits.length),
            queued,
          );
    const headRepo = pull.data.head.repo?.full_name;
    const pusher =
      headRepo === undefined ? undefined : await findGithubPusher(this.#at, headRepo, pull.data.head);
    return {
      pushes: pusher?.push ? [pusher.push] : [],
      told: {
        updatedAt: decoded.updatedAt,
        commitsTold: true,
        landed: landing?.landed ?? [],
        pullRequest: {
          ...decoded.head,
          ...(mergeSha !== undefined && { mergeSha }),
          ...(landing?.method !== undefined && { mergeMethod: landing.method }),
          ...(pusher && { lastPusher: pusher.pusher, lastPushedAt: pusher.pushedAt }),
          ...(requiredApprovals !== undefined && { requiredApprovals }),
          commits: commits.map(githubCommit),
          reviews: githubReviews(reviews, timeline as GithubDismissal[]),
        },
      },
    };
  }

  async permission(login: string): Promise<Permission | undefined> {
    const { octokit, owner, repo, limits } = this.#at;
    try {
      const answer = await found(
        octokit.rest.repos.getCollaboratorPermissionLevel({ owner, repo, username: login }),
      );
      // Who is no account any more has no permission.
      return answer ? githubPermission(answer.data) : 'none';
    } catch (error) {
      if (!isForbidden(error)) throw error;
      limits.add(`reviewers' permissions: ${error.message}`);
      return undefined;
    }
  }

  bypasses(since: number | undefined, now: Date): Promise<Told<Bypass>> {
    return findGithubBypasses(this.#at, since, now);
  }

  approvals(since: number | undefined, now: Date): Promise<Told<ImportedApproval>> {
    return findGithubDeploymentReviews(this.#at, since, now);
  }

  async run(name: string): Promise<ToldRun | undefined> {
    const { octokit, owner, repo } = this.#at;
    if (!/^\d{1,15}$/.test(name)) return undefined;
    const answer = await found(octokit.rest.actions.getWorkflowRun({ owner, repo, run_id: Number(name) }));
    if (!answer) return undefined;
    const { head_sha: sha, run_started_at, created_at, updated_at, status, html_url: url } = answer.data;
    const startedAt = parseMicros(created_at) ?? parseMicros(run_started_at);
    if (startedAt === undefined) return undefined;
    return { sha, startedAt, endedAt: status === 'completed' ? parseMicros(updated_at) : undefined, url };
  }

  /** Commits from a merge back, as many as the pull request has; of a rebase those are what it became. */
  async #trail(sha: string, length: number): Promise<GithubCommit[]> {
    const { octokit, owner, repo } = this.#at;
    const per_page = Math.min(GITHUB_TRAIL, Math.max(1, length));
    const answer = await found(octokit.rest.repos.listCommits({ owner, repo, sha, per_page }));
    return (answer?.data ?? []) as GithubCommit[];
  }

  /** Asked for once. */
  #requiredApprovals(branch: string): Promise<number | undefined> {
    const known = this.#required.get(branch);
    if (known) return known;
    const asked = findRequiredApprovals(this.#at, branch);
    this.#required.set(branch, asked);
    return asked;
  }
}

function ignore(): void {}

export function isForbidden(error: unknown): error is HostError {
  return error instanceof HostError && error.status === 403;
}

export function isNotFound(error: unknown): error is HostError {
  return error instanceof HostError && error.status === 404;
}

/** Undefined for 404. */
export async function found<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
