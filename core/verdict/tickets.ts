import type { Evidence } from '../approval/approval.js';
import type { ChangeTicket, Person } from '../approval/facts.js';
import { accountOf, type SamePerson } from '../approval/same-person.js';
import { formatMicros } from '../timestamp.js';
import type { BreakGlass, Environment, TicketRule } from './policy.js';
import { matchesAny } from './policy-match.js';

/** The names that a ticket may mean a change by. */
export interface ChangeNames {
  application: string | undefined;
  namespace: string;
  cluster: string;
  object: string;
}

const HOUR = 3_600 * 1e6;

/** How a change's tickets stand to what its environment asks for. */
export type TicketState =
  | { state: 'covered'; evidence: Evidence[] }
  | { state: 'expired' | 'missing'; detail: string; evidence: Evidence[] };

/** Whether an approved change ticket covered the time of a change. */
export function judgeTickets(
  rule: TicketRule,
  tickets: readonly ChangeTicket[],
  at: number,
  names: ChangeNames,
): TicketState {
  const fitting = tickets.filter(
    (ticket) =>
      matchesAny(rule.systems, ticket.system) &&
      rule.kinds.includes(ticket.kind) &&
      concerns(ticket, rule.match, names),
  );
  const approved = fitting.filter((ticket) => wasApproved(ticket, at));
  const covering = approved.find((ticket) => covers(ticket, at, rule.openEnded));
  if (covering) return { state: 'covered', evidence: [ticketEvidence(covering)] };
  const evidence = fitting.slice(0, 5).map(ticketEvidence);
  const [expired] = approved;
  if (expired)
    return {
      state: 'expired',
      detail: `ticket ${expired.id} was for ${windowText(expired)}, and this came at ${formatMicros(at)}`,
      evidence,
    };
  const detail = fitting[0]
    ? `ticket ${fitting[0].id} was not approved by then`
    : `no ticket of ${rule.systems.join(', ')} is for this`;
  return { state: 'missing', detail, evidence };
}

/** The ticket that an emergency was acted under; undefined: none covered the time. */
export function emergencyTicket(
  rules: BreakGlass,
  tickets: readonly ChangeTicket[],
  at: number,
): ChangeTicket | undefined {
  return tickets.find(
    (ticket) =>
      matchesAny(rules.ticketSystems, ticket.system) &&
      rules.ticketKinds.includes(ticket.kind) &&
      covers(ticket, at, rules.openEnded),
  );
}

/**
 * Whether what was done under an emergency ticket has been looked at: by somebody else, within the grace hours. A
 * reviewer who can't be told from who acted is nobody else.
 */
export function reviewState(
  ticket: ChangeTicket,
  who: Person,
  at: number,
  environment: Environment,
  now: number,
  samePerson: SamePerson,
): { state: 'pending' | 'reviewed' | 'overdue'; detail: string } {
  const until = at + environment.graceHours * HOUR;
  const { reviewedBy, reviewedAt } = ticket;
  const open = now < until ? 'pending' : 'overdue';
  if (!reviewedBy || reviewedAt === undefined)
    return {
      state: open,
      detail:
        open === 'pending'
          ? `a review by another person is due by ${formatMicros(until)}`
          : `no review by another person came within ${environment.graceHours} h`,
    };
  const reviewer = accountOf(reviewedBy);
  const sameness = samePerson(reviewedBy, who);
  if (sameness !== 'no')
    return {
      state: open,
      detail:
        sameness === 'yes'
          ? `${reviewer} reviewed their own act`
          : `whether ${reviewer} is another person than who acted is not known`,
    };
  return reviewedAt <= until
    ? { state: 'reviewed', detail: `${reviewer} reviewed it at ${formatMicros(reviewedAt)}` }
    : {
        state: 'overdue',
        detail: `${reviewer} reviewed it only at ${formatMicros(reviewedAt)}, after ${environment.graceHours} h`,
      };
}

export function ticketEvidence(ticket: ChangeTicket): Evidence {
  return {
    kind: 'ticket',
    ref: ticket.url ?? `${ticket.system} ${ticket.id}`,
    detail: `${ticket.kind} ${ticket.id}, ${ticket.state}${ticket.approved ? ', approved' : ''}, ${windowText(ticket)}`,
  };
}

function covers(ticket: ChangeTicket, at: number, openEnded: boolean): boolean {
  const { windowStart, windowEnd } = ticket;
  if (!openEnded && (windowStart === undefined || windowEnd === undefined)) return false;
  return (windowStart === undefined || windowStart <= at) && (windowEnd === undefined || at < windowEnd);
}

/** Approvals given later don't count; a system that tells no times is believed. */
function wasApproved(ticket: ChangeTicket, at: number): boolean {
  return (
    ticket.approved &&
    (ticket.approvers.length === 0 ||
      ticket.approvers.some(({ approvedAt }) => approvedAt === undefined || approvedAt <= at))
  );
}

function concerns(ticket: ChangeTicket, match: TicketRule['match'], names: ChangeNames): boolean {
  if (match.length === 0) return true;
  const items = ticket.configurationItems.map((item) => item.toLowerCase());
  return match.some((name) => {
    const value = names[name]?.toLowerCase();
    return value !== undefined && value !== '' && items.includes(value);
  });
}

function windowText(ticket: ChangeTicket): string {
  const time = (micros: number | undefined) => (micros === undefined ? 'open' : formatMicros(micros));
  return `${time(ticket.windowStart)} to ${time(ticket.windowEnd)}`;
}
