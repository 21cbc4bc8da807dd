import type { Person, PullRequest, Review, ReviewState } from '../approval/facts.js';
import { coAuthorsOf, readTrailers } from '../git/trailers.js';
import { parseMicros } from '../timestamp.js';

/** What is read of Gerrit's ChangeInfo (REST, "/changes/"); it holds much more. Its times are UTC without a zone. */

export interface GerritAccount {
  _account_id: number;
  name?: string;
  email?: string;
  username?: string;
  /** SERVICE_USER for machines. */
  tags?: string[];
}

interface GitPerson {
  name?: string;
  email?: string;
}

export interface GerritRevision {
  _number: number;
  created: string;
  uploader: GerritAccount;
  commit?: { author: GitPerson; committer: GitPerson; message: string };
}

export interface GerritChange {
  _number: number;
  branch: string;
  subject: string;
  status: 'NEW' | 'MERGED' | 'ABANDONED';
  created: string;
  updated: string;
  submitted?: string;
  submitter?: GerritAccount;
  owner: GerritAccount;
  labels?: Record<string, { all?: Array<GerritAccount & { value?: number; date?: string }> }>;
  current_revision: string;
  revisions: Record<string, GerritRevision>;
  messages?: Array<{
    id: string;
    author?: GerritAccount;
    date: string;
    message: string;
    _revision_number?: number;
  }>;
  submit_requirements?: Array<{ name: string; status: string }>;
}

const LABEL = 'Code-Review';
/** The value that lets a change be submitted, and the one that blocks it. */
const MAX = 2;

export function gerritPerson(account: GerritAccount): Person {
  return {
    ...(account.name !== undefined && { name: account.name }),
    ...(account.email !== undefined && { email: account.email }),
    login: account.username ?? String(account._account_id),
    ...(account.tags?.includes('SERVICE_USER') && { kind: 'bot' as const }),
  };
}

/** A change with its votes; whoever uploaded its last patch set is its last pusher. Undefined without usable times. */
export function gerritChange(
  change: GerritChange,
  baseURL: string,
):
  | {
      pullRequest: Omit<PullRequest, 'repo'>;
      updatedAt: number;
      forced: boolean;
    }
  | undefined {
  const createdAt = parseMicros(change.created);
  const updatedAt = parseMicros(change.updated);
  const merged = change.status === 'MERGED';
  const mergedAt = merged ? parseMicros(change.submitted ?? change.updated) : undefined;
  const revisions = Object.entries(change.revisions).sort(([, a], [, b]) => a._number - b._number);
  const final = reviewedRevision(change, revisions, mergedAt);
  if (createdAt === undefined || updatedAt === undefined || !final) return undefined;
  const [headSha, head] = final;
  const pushedAt = parseMicros(head.created);
  const rewritten = merged && headSha !== change.current_revision;
  const needs = (change.submit_requirements ?? []).some(
    (one) => one.name === LABEL && one.status !== 'NOT_APPLICABLE',
  );
  return {
    updatedAt,
    // Submit requirements "FORCED": merged directly, past code review.
    forced: merged && (change.submit_requirements ?? []).some((one) => one.status === 'FORCED'),
    pullRequest: {
      number: change._number,
      title: change.subject,
      url: `${baseURL}/c/${change._number}`,
      state: merged ? 'merged' : change.status === 'ABANDONED' ? 'closed' : 'open',
      author: gerritPerson(change.owner),
      lastPusher: gerritPerson(head.uploader),
      ...(pushedAt !== undefined && { lastPushedAt: pushedAt }),
      baseRef: change.branch.replace(/^refs\/heads\//, ''),
      headSha,
      commits: [gerritCommit(headSha, head)],
      createdAt,
      ...(mergedAt !== undefined && {
        mergedAt,
        mergeSha: change.current_revision,
        ...(rewritten && { mergeMethod: 'rebase' as const }),
        ...(change.submitter && { mergedBy: gerritPerson(change.submitter) }),
      }),
      ...(needs && { requiredApprovals: 1 }),
      reviews: gerritReviews(change, revisions),
    },
  };
}

/** Some strategies write a new patch set when they submit; what was reviewed is the one before. */
function reviewedRevision(
  change: GerritChange,
  revisions: ReadonlyArray<[string, GerritRevision]>,
  mergedAt: number | undefined,
): [string, GerritRevision] | undefined {
  const last = revisions.find(([sha]) => sha === change.current_revision);
  const before = revisions.at(-2);
  const created = parseMicros(last?.[1].created);
  const bySubmit =
    mergedAt !== undefined &&
    created !== undefined &&
    created >= mergedAt - 1_000_000 &&
    last?.[1].uploader._account_id === change.submitter?._account_id;
  return bySubmit && before ? before : last;
}

export function gerritCommit(sha: string, revision: GerritRevision): PullRequest['commits'][number] {
  const { author = {}, committer = {}, message = '' } = revision.commit ?? {};
  const coAuthors = coAuthorsOf(readTrailers(message));
  return { sha, author, committer, ...(coAuthors.length > 0 && { coAuthors }) };
}

function stateOf(value: number): ReviewState {
  if (value >= MAX) return 'approved';
  return value < 0 ? 'changes_requested' : 'commented';
}

/**
 * Votes on Code-Review as messages tell them, and whether they stand. Gerrit takes a vote from those only who may give
 * it, so that +2 shows a right at its very time. A vote that stands no more ended with the next patch set, or when it
 * was taken back.
 */
function gerritReviews(change: GerritChange, revisions: ReadonlyArray<[string, GerritRevision]>): Review[] {
  const standing = new Map(
    (change.labels?.[LABEL]?.all ?? []).filter((vote) => vote.value).map((vote) => [vote._account_id, vote]),
  );
  const shaOf = (number: number | undefined) => revisions.find(([, one]) => one._number === number)?.[0];
  const reviews: Review[] = [];
  const open = new Map<number, Review>();
  const review = (
    account: GerritAccount,
    id: string,
    value: number,
    at: number,
    sha: string | undefined,
  ): Review => ({
    id,
    reviewer: gerritPerson(account),
    state: stateOf(value),
    submittedAt: at,
    ...(sha !== undefined && { sha }),
    ...(value >= MAX && { permission: 'write' as const, permissionSeenAt: at }),
  });
  const messages = [...(change.messages ?? [])].sort((a, b) => a.date.localeCompare(b.date));
  for (const { id, author, date, message, _revision_number } of messages) {
    const at = parseMicros(date);
    if (at === undefined || !author) continue;
    const line = message.split('\n', 1)[0]!;
    const [, patchSet, said] = /^Patch Set (\d+):(.*)$/.exec(line) ?? [];
    if (/^Uploaded patch set \d+/.test(line)) {
      for (const [account, vote] of open) if (!standing.has(account)) end(vote, at, gerritPerson(author));
      for (const [account, vote] of open) if (vote.dismissedAt !== undefined) open.delete(account);
    }
    if (said === undefined) continue;
    const [, value] = /(?:^|\s)Code-Review([+-]\d)/.exec(said) ?? [];
    if (value !== undefined || / -Code-Review\b/.test(said)) {
      const before = open.get(author._account_id);
      if (before) end(before, at, gerritPerson(author));
      open.delete(author._account_id);
    }
    if (value === undefined) continue;
    const given = review(author, id, Number(value), at, shaOf(_revision_number ?? Number(patchSet)));
    reviews.push(given);
    open.set(author._account_id, given);
  }
  for (const [account, vote] of standing) {
    const at = parseMicros(vote.date);
    const known = open.get(account);
    if (known) known.counted = true;
    else if (at !== undefined)
      reviews.push({
        ...review(vote, `vote:${account}:${vote.date}`, vote.value!, at, undefined),
        counted: true,
      });
  }
  for (const [account, vote] of open) if (!standing.has(account)) vote.counted = false;
  return reviews;
}

function end(vote: Review, at: number, by: Person): void {
  vote.dismissedAt ??= at;
  vote.dismissedBy ??= by;
}
