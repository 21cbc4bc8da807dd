import { Gitlab } from '@gitbeaker/rest';
import type { ImportedApproval } from '../../core/approval/facts.js';
import {
  type GitlabApproval,
  type GitlabCommit,
  type GitlabMergeRequest,
  type GitlabNote,
  type GitlabUser,
  gitlabCommit,
  gitlabLanding,
  gitlabLastPusher,
  gitlabMergeRequest,
  gitlabPermission,
  gitlabReviews,
} from '../../core/hosts/gitlab.js';
import { formatMicros, parseMicros } from '../../core/timestamp.js';
import type { ToldRun } from '../../store/facts/ci-runs.js';
import type { Permission } from '../../store/facts/permissions.js';
import type { Bypass } from '../../store/facts/pushes.js';
import { found, isForbidden } from './github.js';
import type { Fetched, Host, Listed, Told } from './host.js';
import { HostError, type HostHttp } from './host-http.js';

const PAGE = 100;

export interface GitlabOptions {
  http: HostHttp;
  apiURL: string;
  token: string;
  /** Such as acme/shop, with its groups. */
  project: string;
  name: string;
}

/** A project on GitLab, by REST v4. */
export class GitlabHost implements Host {
  readonly limits = new Set<string>();
  readonly #gitlab: InstanceType<typeof Gitlab<false>>;
  readonly #project: string;
  readonly #name: string;
  /** GitLab tells permissions by ids only. */
  readonly #ids = new Map<string, number>();

  constructor({ http, apiURL, token, project, name }: GitlabOptions) {
    this.#gitlab = new Gitlab({
      host: apiURL.replace(/\/api\/v4$/, ''),
      token,
      requesterFn: requester(http),
    });
    this.#project = project;
    this.#name = name;
    this.limits.add('bypassed rules: GitLab does not tell when a rule was bypassed');
  }

  async *list(since: number | undefined): AsyncIterable<Listed[]> {
    for (let page = 1; ; page++) {
      const items = await this.#gitlab.MergeRequests.all({
        projectId: this.#project,
        scope: 'all',
        orderBy: 'updated_at',
        sort: 'desc',
        perPage: PAGE,
        page,
        ...(since !== undefined && { updatedAfter: formatMicros(since) }),
      });
      if (items.length > 0)
        yield items.map((item) => ({ number: item.iid, changedAt: parseMicros(item.updated_at) ?? 0 }));
      if (items.length < PAGE) return;
    }
  }

  async fetch(number: number): Promise<Fetched | undefined> {
    const { MergeRequests, MergeRequestApprovals, MergeRequestNotes } = this.#gitlab;
    const shown = await found(MergeRequests.show(this.#project, number));
    if (!shown) return undefined;
    const mr = shown as unknown as GitlabMergeRequest;
    const decoded = gitlabMergeRequest(mr);
    if (!decoded) throw new HostError(200, `${this.#name}!${number}: it has no times`);
    const [listed, approvals, allNotes, versions] = await Promise.all([
      MergeRequests.allCommits(this.#project, number, { perPage: PAGE } as object),
      found(MergeRequestApprovals.showConfiguration(this.#project, { mergerequestIId: number })),
      MergeRequestNotes.all(this.#project, number, { sort: 'asc', orderBy: 'created_at', perPage: PAGE }),
      MergeRequests.allDiffVersions(this.#project, number),
    ]);
    // The list begins with the newest.
    const commits = (listed as unknown as GitlabCommit[]).toReversed();
    const notes = allNotes as unknown as GitlabNote[];
    const approvedBy = (approvals?.approved_by ?? []) as unknown as GitlabApproval[];
    for (const user of [...notes.map((note) => note.author), ...approvedBy.map((one) => one.user)])
      if (user) this.#ids.set(user.username, user.id);
    const landing = decoded.head.state === 'merged' ? gitlabLanding(mr) : undefined;
    const pusher = gitlabLastPusher(notes);
    const required = approvals?.approvals_required;
    return {
      pushes: [],
      told: {
        updatedAt: decoded.updatedAt,
        commitsTold: true,
        landed: (landing?.landed ?? []).map((sha) => ({
          sha,
          author: decoded.head.author,
          committer: decoded.head.mergedBy ?? decoded.head.author,
        })),
        pullRequest: {
          ...decoded.head,
          ...(landing?.mergeSha !== undefined && { mergeSha: landing.mergeSha }),
          ...(landing?.mergeMethod !== undefined && { mergeMethod: landing.mergeMethod }),
          ...(pusher && { lastPusher: pusher.pusher, lastPushedAt: pusher.pushedAt }),
          // The free tier has no such rules, and leaves the number out.
          ...(typeof required === 'number' && { requiredApprovals: required }),
          commits: commits.map(gitlabCommit),
          reviews: gitlabReviews(
            notes,
            approvedBy,
            versions as unknown as Array<{ head_commit_sha: string; created_at: string }>,
            Date.now() * 1000,
          ),
        },
      },
    };
  }

  async permission(login: string): Promise<Permission | undefined> {
    try {
      const id = this.#ids.get(login) ?? (await this.#idOf(login));
      if (id === undefined) return 'none';
      const member = await found(
        this.#gitlab.ProjectMembers.show(this.#project, id, { includeInherited: true }),
      );
      return member ? gitlabPermission(member.access_level) : 'none';
    } catch (error) {
      if (!isForbidden(error)) throw error;
      this.limits.add(`reviewers' permissions: ${error.message}`);
      return undefined;
    }
  }

  async #idOf(login: string): Promise<number | undefined> {
    const users = (await this.#gitlab.Users.all({ username: login })) as unknown as GitlabUser[];
    return users.find((user) => user.username === login)?.id;
  }

  async bypasses(_since: number | undefined, now: Date): Promise<Told<Bypass>> {
    return { items: [], through: now.getTime() * 1000 };
  }

  async approvals(_since: number | undefined, now: Date): Promise<Told<ImportedApproval>> {
    return { items: [], through: now.getTime() * 1000 };
  }

  /** A pipeline by its id. */
  async run(name: string): Promise<ToldRun | undefined> {
    if (!/^\d{1,15}$/.test(name)) return undefined;
    const pipeline = await found(this.#gitlab.Pipelines.show(this.#project, Number(name)));
    const startedAt = parseMicros(pipeline?.created_at);
    if (!pipeline || startedAt === undefined) return undefined;
    return {
      sha: pipeline.sha,
      startedAt,
      endedAt: parseMicros(pipeline.finished_at),
      url: pipeline.web_url,
    };
  }
}

interface Resource {
  url: string;
  headers: Record<string, string>;
  authHeaders: Record<string, () => Promise<string>>;
}

/** gitbeaker's way to the network, through ours: its own tries again without regard to what GitLab asks for. */
function requester(http: HostHttp) {
  return (resource: Resource) => {
    const refuse = () => Promise.reject(new HostError(0, 'whochanged only reads'));
    return {
      get: async <T>(
        endpoint: string,
        options: { searchParams?: Record<string, unknown> } = {},
      ): Promise<{ body: T; headers: Record<string, string>; status: number }> => {
        const url = new URL(`${resource.url.replace(/\/+$/, '')}/${endpoint}`);
        for (const [name, value] of Object.entries(options.searchParams ?? {}))
          if (value !== undefined && value !== null)
            url.searchParams.set(
              name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
              String(value),
            );
        const headers: Record<string, string> = { ...resource.headers, 'user-agent': 'whochanged' };
        for (const [name, value] of Object.entries(resource.authHeaders)) headers[name] = await value();
        const response = await http.fetch(url, { headers });
        return {
          body: (await response.json()) as T,
          headers: Object.fromEntries(response.headers.entries()),
          status: response.status,
        };
      },
      post: refuse,
      put: refuse,
      patch: refuse,
      delete: refuse,
    };
  };
}
