import { FAILING, verdictText } from '../../core/verdict/verdict.js';
import type { Change, ShortVerdict, Source, View } from './changes.js';
import type { Colors } from './colors.js';
import type { Column } from './table.js';
import { clock, safe } from './text.js';

interface Evidence {
  kind: string;
  ref: string;
  detail: string;
}

/** The part of the API's verdict that the terminal shows. */
export interface Verdict extends ShortVerdict {
  evaluatedAt: string;
  detail: string;
  policyVersion: string;
  triggerChangeID?: string;
  initiator?: { username?: string; automated: boolean };
  commits: Array<{
    repo: string;
    sha: string;
    state: string;
    reason?: string;
    detail: string;
    pullRequest?: { number: number; url: string; title: string };
    approvers: string[];
  }>;
  content?: {
    state: string;
    different: string[];
    changedByAdmission: string[];
    addedByAdmission: string[];
    addedByWriter: string[];
    defaulted?: string[];
    unexplained?: string[];
    webhooks?: string[];
  };
  evidence: Evidence[];
  hazards: string[];
}

interface Link {
  rule: string;
  strength: string;
  selected: boolean;
  sources: Source[];
  doubt?: string;
  evidence: Evidence[];
  hazards: string[];
}

/** What a change's own answer tells of its links and verdicts. */
export interface VerdictDetail {
  links?: Link[];
  verdicts?: Verdict[];
}

const SHORT_SHA = 8;
const LISTED_COMMITS = 20;

/** `approved`, `unapproved(stale)`; of a consequence, what is said of its root. */
export function verdictCell(verdict: ShortVerdict | undefined): string {
  if (!verdict) return 'waiting';
  const own = verdictText(verdict);
  const root = verdict.root?.verdict
    ? ` of ${verdictText({ ...verdict.root, verdict: verdict.root.verdict })}`
    : '';
  return `${own}${root}${verdict.final ? '' : '…'}`;
}

export function paintVerdict(text: string, verdict: ShortVerdict | undefined, colors: Colors): string {
  const name = verdict?.root?.verdict ?? verdict?.verdict;
  if (name === undefined) return colors.dim(text);
  const failing = (FAILING as readonly string[]).includes(name) || verdict?.reason === 'overdue';
  if (failing) return name === 'unknown' ? colors.yellow(text) : colors.red(text);
  return name.startsWith('approved') ? colors.green(text) : text;
}

export function shortSources(sources: readonly Source[]): string {
  return sources.map(({ sha, revision }) => sha?.slice(0, SHORT_SHA) ?? revision).join(' ');
}

/** Which of commit, approval and verdict some changes have anything to show of. */
export interface Judged {
  commit: boolean;
  approval: boolean;
  verdict: boolean;
}

export function judgedOf(changes: readonly Change[]): Judged {
  return {
    commit: changes.some(({ link }) => link !== undefined),
    approval: changes.some(({ approval }) => approval !== undefined),
    verdict: changes.some(({ verdict }) => verdict !== undefined),
  };
}

/** Whether there is, or will be, a verdict: never of what changed nothing, and hardly of bookkeeping. */
function isJudged({ kind, class: own, verdict }: Change): boolean {
  return verdict !== undefined || (kind !== undefined && own !== 'status');
}

/** Commit, approval and verdict, for a table of changes. */
export function verdictColumns(view: View, judged: Judged): Column<Change>[] {
  const columns: Column<Change>[] = [];
  if (judged.commit) columns.push({ head: 'COMMIT', value: commitText, optional: true });
  if (judged.approval) columns.push({ head: 'APPROVED BY', value: approvalText, optional: true, most: 24 });
  if (judged.verdict)
    columns.push({
      head: 'VERDICT',
      value: (row) => (isJudged(row) ? verdictCell(row.verdict) : ''),
      short: (row) => (isJudged(row) ? (row.verdict?.verdict ?? 'waiting') : ''),
      paint: (text, row) => paintVerdict(text, row.verdict, view.colors),
    });
  return columns;
}

/** A weak link is marked: it proves nothing. */
function commitText({ link }: Change): string {
  if (!link) return '';
  return `${shortSources(link.sources)}${link.strength === 'weak' ? '?' : ''}`;
}

function approvalText({ approval }: Change): string {
  if (!approval) return '';
  const numbers = approval.pullRequests.map(({ number }) => `#${number}`);
  return [...approval.approvers, ...numbers].join(' ');
}

/** Links, the verdict that holds with what it rests on, and those before it. */
export function renderVerdicts(change: VerdictDetail, { colors, utc }: View): string[] {
  const lines: string[] = [];
  const [current, ...earlier] = change.verdicts ?? [];
  if (current) {
    lines.push('', `${colors.bold('Verdict:')}    ${paintVerdict(verdictCell(current), current, colors)}`);
    lines.push(
      safe(`  ${current.detail}`),
      safe(
        `  environment ${current.environment}, policy ${current.policyVersion}, ${clock(current.evaluatedAt, utc)}`,
      ),
    );
    if (current.root) lines.push(safe(`  follows from change ${current.root.changeID}`));
    if (current.triggerChangeID) lines.push(safe(`  set off by change ${current.triggerChangeID}`));
    if (current.initiator)
      lines.push(
        safe(
          `  initiator: ${current.initiator.username ?? 'none named'}${current.initiator.automated ? ' (automated)' : ''}`,
        ),
      );
    for (const commit of current.commits.slice(0, LISTED_COMMITS)) {
      const pr = commit.pullRequest ? ` #${commit.pullRequest.number}` : '';
      const by = commit.approvers.length > 0 ? ` by ${commit.approvers.join(', ')}` : '';
      lines.push(
        safe(
          `  commit ${commit.sha.slice(0, 12)} of ${commit.repo}${pr}: ${commit.state.replaceAll('_', ' ')}${by}; ${commit.detail}`,
        ),
      );
    }
    if (current.commits.length > LISTED_COMMITS)
      lines.push(`  ... ${current.commits.length - LISTED_COMMITS} more commits`);
    if (current.content) lines.push(safe(`  content: ${contentText(current.content)}`));
    for (const { kind, detail } of current.evidence) lines.push(safe(`  ${kind}: ${detail}`));
    for (const hazard of current.hazards) lines.push(colors.yellow(safe(`  beware: ${hazard}`)));
  }
  for (const link of change.links ?? []) {
    const mark = link.selected ? '*' : '-';
    const doubt = link.doubt === undefined ? '' : ` (doesn’t count: ${link.doubt})`;
    if (link === change.links?.[0]) lines.push('', colors.bold('Links:'));
    lines.push(
      safe(`  ${mark} ${link.rule} ${link.strength}: ${link.sources.map(sourceText).join(', ')}${doubt}`),
    );
  }
  if (earlier.length > 0) {
    lines.push('', colors.bold('Said before:'));
    for (const verdict of earlier)
      lines.push(safe(`  ${clock(verdict.evaluatedAt, utc)} ${verdictCell(verdict)}: ${verdict.detail}`));
  }
  return lines;
}

function sourceText({ repository, sha, revision }: Source): string {
  return `${repository} at ${sha ?? revision}`;
}

function contentText(content: NonNullable<Verdict['content']>): string {
  const parts = [`${content.state} to what the commit says`];
  if (content.different.length > 0) parts.push(`differs in ${content.different.join(', ')}`);
  if (content.changedByAdmission.length > 0)
    parts.push(`admission changed ${content.changedByAdmission.join(', ')}`);
  if (content.addedByAdmission.length > 0)
    parts.push(`admission added ${content.addedByAdmission.join(', ')}`);
  if (content.webhooks?.length) parts.push(`webhooks: ${content.webhooks.join(', ')}`);
  if (content.addedByWriter.length > 0) parts.push(`the writer added ${content.addedByWriter.join(', ')}`);
  if (content.unexplained?.length) parts.push(`nothing tells who set ${content.unexplained.join(', ')}`);
  if (content.defaulted?.length) parts.push(`${content.defaulted.length} fields by default`);
  return parts.join('; ');
}
