import type { ImportedApproval } from '../../core/approval/facts.js';
import { type GerritChange, gerritChange, gerritCommit } from '../../core/hosts/gerrit.js';
import { formatMicros, parseMicros } from '../../core/timestamp.js';
import type { Permission } from '../../store/facts/permissions.js';
import type { Bypass } from '../../store/facts/pushes.js';
import { found } from './github.js';
import type { Fetched, Host, Listed, Told } from './host.js';
import { HostError, type HostHttp } from './host-http.js';

const PAGE = 100;
/** Before every JSON body, against scripts that would include it (REST, "Output Format"). */
const PREFIX = ")]}'";
const DETAILS = [
  'DETAILED_LABELS',
  'DETAILED_ACCOUNTS',
  'ALL_REVISIONS',
  'ALL_COMMITS',
  'MESSAGES',
  'SUBMIT_REQUIREMENTS',
];

export interface GerritOptions {
  http: HostHttp;
  apiURL: string;
  user: string;
  password: string;
  project: string;
  name: string;
}

/** A project on Gerrit, by REST. */
export class GerritHost implements Host {
  readonly limits = new Set<string>();
  readonly #options: GerritOptions;

  constructor(options: GerritOptions) {
    this.#options = options;
    this.limits.add("reviewers' permissions: Gerrit tells none; a vote of +2 shows the right to give it");
  }

  async *list(since: number | undefined): AsyncIterable<Listed[]> {
    const { project } = this.#options;
    const after =
      since === undefined ? '' : ` after:"${formatMicros(since).slice(0, 19).replace('T', ' ')} +0000"`;
    for (let start = 0; ; start += PAGE) {
      const query = new URLSearchParams({
        q: `project:"${project.replaceAll('"', '')}"${after}`,
        n: String(PAGE),
        S: String(start),
      });
      const items = await this.#get<Array<{ _number: number; updated: string; _more_changes?: boolean }>>(
        `/changes/?${query}`,
      );
      if (items.length > 0)
        yield items.map((item) => ({ number: item._number, changedAt: parseMicros(item.updated) ?? 0 }));
      if (!items.at(-1)?._more_changes) return;
    }
  }

  async fetch(number: number): Promise<Fetched | undefined> {
    const { apiURL, project, name } = this.#options;
    const path = `/changes/${encodeURIComponent(project)}~${number}?${DETAILS.map((one) => `o=${one}`).join('&')}`;
    const change = await found(this.#get<GerritChange>(path));
    if (!change) return undefined;
    const decoded = gerritChange(change, apiURL);
    if (!decoded) throw new HostError(200, `${name} change ${number}: it has no times, or not its revision`);
    const { pullRequest, updatedAt, forced } = decoded;
    const { mergeSha, mergedAt } = pullRequest;
    const landed = mergeSha !== undefined && change.revisions[mergeSha];
    const bypass: Bypass[] =
      forced && mergeSha !== undefined && mergedAt !== undefined
        ? [
            {
              id: `change:${number}`,
              actor: pullRequest.mergedBy ?? pullRequest.lastPusher ?? {},
              at: mergedAt,
              rule: 'submit requirements',
              ref: `refs/heads/${pullRequest.baseRef}`,
              after: mergeSha,
              shas: [mergeSha],
              number,
            },
          ]
        : [];
    return {
      pushes: [],
      bypasses: bypass,
      told: {
        pullRequest,
        updatedAt,
        commitsTold: true,
        landed: landed ? [gerritCommit(mergeSha, landed)] : [],
      },
    };
  }

  async permission(): Promise<Permission | undefined> {
    return undefined;
  }

  async bypasses(_since: number | undefined, now: Date): Promise<Told<Bypass>> {
    return { items: [], through: now.getTime() * 1000 };
  }

  async approvals(_since: number | undefined, now: Date): Promise<Told<ImportedApproval>> {
    return { items: [], through: now.getTime() * 1000 };
  }

  /** Gerrit runs none. */
  async run(): Promise<undefined> {
    return undefined;
  }

  async #get<T>(path: string): Promise<T> {
    const { http, apiURL, user, password } = this.#options;
    const response = await http.fetch(`${apiURL}/a${path}`, {
      headers: {
        accept: 'application/json',
        'user-agent': 'whochanged',
        authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
      },
    });
    const text = await response.text();
    if (!text.startsWith(PREFIX))
      throw new HostError(response.status, `${path.split('?')[0]}: no answer of Gerrit's`);
    return JSON.parse(text.slice(PREFIX.length)) as T;
  }
}
