import { createHmac } from 'node:crypto';

/** What receivers are told of an alert: that it is there, and that what it is about (a gap, a silence) is over. */
export const NOTICES = ['raised', 'ended'] as const;
export type Notice = (typeof NOTICES)[number];

/** Why a gap or a silence is over. One that nobody waits for any more is not heard again. */
export const END_REASONS = ['closed', 'heard', 'disabled'] as const;
export type EndReason = (typeof END_REASONS)[number];

const ENDS: Record<EndReason, string> = {
  closed: 'the gap was closed',
  heard: 'the source is heard again',
  disabled: 'the source was disabled, and was not heard again',
};

/** An alert as receivers are told of it. Values come from redacted events. */
export interface AlertNotice {
  /** The same for each attempt, so that a receiver knows what it has been told. */
  id: string;
  /** The id under which the receiver was told that it was raised. */
  raisedID: string;
  /** RFC 3339; null: it is not over, or is no matter that ends. */
  endedAt: string | null;
  /** Why it is over; null where it isn't. */
  endReason: EndReason | null;
  rule: string;
  title: string;
  severity: string;
  subject: string;
  cluster: string;
  namespace: string | null;
  object: string | null;
  username: string | null;
  message: string;
  /** When what matched happened first, RFC 3339. */
  at: string;
  raisedAt: string;
  matches: number;
  changeID: string | null;
  /** The page on it. */
  url: string;
}

/** The body of a webhook's post. */
export function webhookBody(notice: AlertNotice): string {
  return JSON.stringify({
    type: notice.endedAt === null ? 'whochanged.alert' : 'whochanged.alert.ended',
    data: notice,
  });
}

/**
 * The headers that sign a post, as the Standard Webhooks specification has them: HMAC-SHA256 over id, time and body, so that
 * a receiver sees who sent it, that nothing was altered, and that it is no replay.
 * @param key base64 after `whsec_`, else the text itself
 */
export function signedHeaders(
  key: string,
  id: string,
  seconds: number,
  body: string,
): Record<string, string> {
  const secret = key.startsWith('whsec_')
    ? Buffer.from(key.slice('whsec_'.length), 'base64')
    : Buffer.from(key);
  const signature = createHmac('sha256', secret).update(`${id}.${seconds}.${body}`).digest('base64');
  return {
    'webhook-id': id,
    'webhook-timestamp': String(seconds),
    'webhook-signature': `v1,${signature}`,
  };
}

/** The body of a post to an incoming webhook of Slack, or of what takes the same (Mattermost, Rocket.Chat, Discord's /slack). */
export function slackBody(notice: AlertNotice): string {
  const lines = [
    `*[${labelOf(notice)}] ${slackText(notice.title)}*`,
    slackText(textOf(notice)),
    `<${notice.url}|${slackText(notice.cluster)}, ${notice.at.slice(0, 19)}Z>`,
  ];
  return JSON.stringify({ text: lines.join('\n') });
}

/** Slack's own marks in a text would make links and mentions of what a user of the cluster wrote. */
function slackText(text: string): string {
  return text
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/[*_~`]/g, (mark) => `\u200b${mark}`);
}

/** Subject and text of an e-mail. */
export function emailParts(notice: AlertNotice): { subject: string; text: string } {
  const rows: Array<[string, string | null]> = [
    ['Rule', notice.rule],
    ['Severity', notice.severity],
    ['Cluster', notice.cluster],
    ['Namespace', notice.namespace],
    ['Object', notice.object],
    ['User', notice.username],
    ['When', notice.at],
    ['Raised', notice.raisedAt],
    ['Over', notice.endedAt],
  ];
  const table = rows.flatMap(([name, value]) => (value ? [`${`${name}:`.padEnd(11)} ${value}`] : []));
  return {
    subject: `[${labelOf(notice)}] ${notice.title} (${notice.cluster})`.replace(/[\r\n]+/g, ' '),
    text: `${textOf(notice)}\n\n${table.join('\n')}\n\n${notice.url}\n`,
  };
}

function labelOf({ severity, endedAt }: AlertNotice): string {
  return endedAt === null ? severity : 'resolved';
}

function textOf({ message, endedAt, endReason }: AlertNotice): string {
  if (endedAt === null) return message;
  const why = endReason === null ? '' : `: ${ENDS[endReason]}`;
  return `Over since ${endedAt.slice(0, 19)}Z${why}. It was: ${message}`;
}
