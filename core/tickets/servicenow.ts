import { asItem, ItemProblem, optionalText } from '../approval/decode-approval.js';
import type { ChangeTicket, Person } from '../approval/facts.js';
import { parseMicros } from '../timestamp.js';

export interface DecodedTicket {
  ticket: ChangeTicket;
  updatedAt?: number;
}

/** change_request states by number, as the standard product has them; a display word stays as it is. */
const STATES: Record<string, string> = {
  '-5': 'New',
  '-4': 'Assess',
  '-3': 'Authorize',
  '-2': 'Scheduled',
  '-1': 'Implement',
  '0': 'Review',
  '3': 'Closed',
  '4': 'Canceled',
};
const KINDS = ['standard', 'normal', 'emergency'] as const;

/**
 * Reads a row of ServiceNow's change_request or incident, as exports and the Table API give it: a field is a text, or
 * `{value, display_value}`. Times without a zone are UTC, as the API and `value` have them; an export shows them in its
 * user's zone, so export as UTC.
 * @throws ItemProblem
 */
export function decodeServiceNow(value: unknown): DecodedTicket {
  const item = asItem(value);
  const id = field(item, 'number');
  if (id === undefined) throw new ItemProblem('number: it is missing');
  const incident = /^INC/i.test(id);
  const type = (field(item, 'type') ?? 'normal').toLowerCase();
  const kind = incident ? 'incident' : KINDS.find((one) => type.startsWith(one));
  if (kind === undefined)
    throw new ItemProblem(`type: ${JSON.stringify(type)} is none of ${KINDS.join(', ')}`);
  const state = field(item, 'state');
  if (state === undefined) throw new ItemProblem('state: it is missing');
  const approval = (field(item, 'approval') ?? '').toLowerCase();
  const start = time(item, 'start_date');
  const end = time(item, 'end_date');
  if (start !== undefined && end !== undefined && end <= start)
    throw new ItemProblem('end_date: it is not after start_date');
  const approvedAt = time(item, 'approval_set');
  const approvers = list(item, 'approved_by').map((name) => ({
    person: person(name),
    ...(approvedAt !== undefined && { approvedAt }),
  }));
  const requestedBy = shown(item, 'requested_by') ?? shown(item, 'opened_by');
  const reviewedBy = shown(item, 'reviewed_by');
  const reviewedAt = time(item, 'review_date');
  const updatedAt = time(item, 'sys_updated_on');
  const url = optionalText(item, 'url');
  return {
    ticket: {
      system: 'servicenow',
      id,
      kind,
      state: STATES[state] ?? state,
      // A standard change is approved beforehand, and says so all the same.
      approved: approval === 'approved',
      approvers,
      ...(start !== undefined && { windowStart: start }),
      ...(end !== undefined && { windowEnd: end }),
      configurationItems: [...list(item, 'cmdb_ci'), ...list(item, 'business_service')],
      ...(requestedBy !== undefined && { requestedBy: person(requestedBy) }),
      ...(url !== undefined && { url }),
      ...(reviewedBy !== undefined && { reviewedBy: person(reviewedBy) }),
      ...(reviewedAt !== undefined && { reviewedAt }),
    },
    ...(updatedAt !== undefined && { updatedAt }),
  };
}

/** The value of a field, whichever form it has. */
function field(item: Record<string, unknown>, name: string): string | undefined {
  const value = item[name];
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return optionalText(value as Record<string, unknown>, 'value');
  return optionalText(item, name);
}

/** What people read: of a reference the value is a sys_id, which names nobody. */
function shown(item: Record<string, unknown>, name: string): string | undefined {
  const value = item[name];
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return optionalText(value as Record<string, unknown>, 'display_value');
  return optionalText(item, name);
}

function list(item: Record<string, unknown>, name: string): string[] {
  return (shown(item, name) ?? '')
    .split(/[,;]/)
    .map((text) => text.trim())
    .filter(Boolean);
}

/** An address, or the name that ServiceNow shows. */
function person(text: string): Person {
  return text.includes('@') ? { email: text } : { name: text };
}

function time(item: Record<string, unknown>, name: string): number | undefined {
  const text = field(item, name);
  if (text === undefined) return undefined;
  const micros = parseMicros(text);
  if (micros === undefined)
    throw new ItemProblem(
      `${name}: ${JSON.stringify(text)} is no time; write it like 2026-03-02 09:00:00, in UTC`,
    );
  return micros;
}
