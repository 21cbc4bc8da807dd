import { asItem, ItemProblem, optionalText } from '../approval/decode-approval.js';
import type { ChangeTicket, Person } from '../approval/facts.js';
import { parseMicros } from '../timestamp.js';
import type { DecodedTicket } from './servicenow.js';

/** Which of an issue's fields mean what: every Jira has custom fields of its own. */
export interface JiraMapping {
  /** A field of Jira Service Management's approvals, such as customfield_10100. */
  approvals?: string;
  /** A field with a user or users, where approvals are kept so. */
  approvers?: string;
  windowStart?: string;
  windowEnd?: string;
  configurationItems?: string;
  kind?: string;
  reviewedBy?: string;
  reviewedAt?: string;
  /** States that mean that it is approved, where no field of approvals says so. */
  approvedStates?: string[];
}

export const JIRA_MAPPING_KEYS = [
  'approvals',
  'approvers',
  'windowStart',
  'windowEnd',
  'configurationItems',
  'kind',
  'reviewedBy',
  'reviewedAt',
  'approvedStates',
] as const satisfies Array<keyof JiraMapping>;

interface JiraApproval {
  finalDecision?: string;
  completedDate?: { iso8601?: string };
  approvers?: Array<{ approver?: JiraUser; approverDecision?: string }>;
}

interface JiraUser {
  accountId?: string;
  name?: string;
  displayName?: string;
  emailAddress?: string;
}

/**
 * Reads an issue of Jira's search API, `{key, fields}`, or a row of an export with the columns `Issue key`, `Status` and
 * those that the mapping names.
 * @throws ItemProblem
 */
export function decodeJira(value: unknown, mapping: JiraMapping): DecodedTicket {
  const item = asItem(value);
  const fields = item.fields === undefined ? item : asItem(item.fields);
  const id = optionalText(item, 'key') ?? optionalText(item, 'Issue key');
  if (id === undefined) throw new ItemProblem('key: it is missing');
  const state = named(fields.status) ?? named(fields.Status);
  if (state === undefined) throw new ItemProblem('status: it is missing');
  const of = (name: string | undefined) => (name === undefined ? undefined : fields[name]);
  const approvals = approvalsOf(of(mapping.approvals), mapping.approvals);
  const declined = approvals.some((one) => one.finalDecision === 'declined');
  const granted = approvals.filter((one) => one.finalDecision === 'approved');
  const approvers = [
    ...granted.flatMap(approversOf),
    ...usersOf(of(mapping.approvers)).map((person) => ({ person })),
  ];
  const inState = (mapping.approvedStates ?? []).some((word) => word.toLowerCase() === state.toLowerCase());
  const start = time(of(mapping.windowStart), mapping.windowStart);
  const end = time(of(mapping.windowEnd), mapping.windowEnd);
  if (start !== undefined && end !== undefined && end <= start)
    throw new ItemProblem(`${mapping.windowEnd}: it is not after ${mapping.windowStart}`);
  const [reviewedBy] = usersOf(of(mapping.reviewedBy));
  const reviewedAt = time(of(mapping.reviewedAt), mapping.reviewedAt);
  const [requestedBy] = usersOf(fields.reporter ?? fields.Reporter);
  const updatedAt = time(fields.updated, 'updated');
  const self = optionalText(item, 'self');
  return {
    ticket: {
      system: 'jira',
      id,
      kind: kindOf(named(of(mapping.kind)) ?? named(fields.issuetype) ?? named(fields['Issue Type']) ?? ''),
      state,
      approved: !declined && (granted.length > 0 || inState),
      approvers,
      ...(start !== undefined && { windowStart: start }),
      ...(end !== undefined && { windowEnd: end }),
      configurationItems: namesOf(of(mapping.configurationItems)),
      ...(requestedBy && { requestedBy }),
      ...(self && URL.canParse(self) && { url: `${new URL(self).origin}/browse/${id}` }),
      ...(reviewedBy && { reviewedBy }),
      ...(reviewedAt !== undefined && { reviewedAt }),
    },
    ...(updatedAt !== undefined && { updatedAt }),
  };
}

function kindOf(text: string): ChangeTicket['kind'] {
  const word = text.toLowerCase();
  if (word.includes('incident')) return 'incident';
  if (word.includes('emergency')) return 'emergency';
  return word.includes('standard') ? 'standard' : 'normal';
}

function approvalsOf(value: unknown, name: string | undefined): JiraApproval[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value) && value.every(isApproval)) return value;
  throw new ItemProblem(`${name}: expected the list of approvals of Jira Service Management`);
}

function isApproval(value: unknown): value is JiraApproval {
  if (!isMap(value)) return false;
  const { approvers = [], completedDate = {} } = value;
  return (
    Array.isArray(approvers) && approvers.every(isMap) && (completedDate === null || isMap(completedDate))
  );
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function approversOf(approval: JiraApproval): ChangeTicket['approvers'] {
  const approvedAt = parseMicros(approval.completedDate?.iso8601);
  return (approval.approvers ?? []).flatMap(({ approver, approverDecision }) => {
    const [person] = approverDecision === 'approved' ? usersOf(approver) : [];
    return person ? [{ person, ...(approvedAt !== undefined && { approvedAt }) }] : [];
  });
}

function usersOf(value: unknown): Person[] {
  return (Array.isArray(value) ? value : [value]).flatMap((one: unknown): Person[] => {
    if (typeof one === 'string' && one.trim() !== '')
      return [one.includes('@') ? { email: one } : { name: one }];
    if (typeof one !== 'object' || one === null) return [];
    const { name, accountId, displayName, emailAddress } = one as JiraUser;
    const login = name ?? accountId;
    return [
      {
        ...(typeof displayName === 'string' && { name: displayName }),
        ...(typeof emailAddress === 'string' && { email: emailAddress }),
        ...(typeof login === 'string' && { login }),
      },
    ];
  });
}

/** The word of a field: itself, or the name, value or label of what it picks. */
function named(value: unknown): string | undefined {
  if (typeof value === 'string') return value.trim() || undefined;
  if (typeof value !== 'object' || value === null) return undefined;
  const { name, value: picked, label } = value as Record<string, unknown>;
  return [name, picked, label].find((one): one is string => typeof one === 'string' && one !== '');
}

function namesOf(value: unknown): string[] {
  if (typeof value === 'string')
    return value
      .split(/[,;]/)
      .map((text) => text.trim())
      .filter(Boolean);
  return (Array.isArray(value) ? value : [value]).flatMap((one: unknown) => named(one) ?? []);
}

function time(value: unknown, name: string | undefined): number | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  const micros = parseMicros(value);
  if (micros === undefined || typeof value !== 'string') throw new ItemProblem(`${name}: it is no time`);
  return micros;
}
