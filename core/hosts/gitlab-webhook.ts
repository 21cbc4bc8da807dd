import type { Person } from '../approval/facts.js';
import { parseMicros } from '../timestamp.js';
import { asPromised, type HostDelivery } from './delivery.js';

interface Payload {
  object_kind?: string;
  project?: { path_with_namespace?: string };
  object_attributes?: { iid?: number; action?: string; updated_at?: string };
  merge_request?: { iid?: number; updated_at?: string };
  ref?: string;
  before?: string;
  after?: string;
  user_username?: string;
  user_name?: string;
  user_email?: string;
}

const SHA = /^[0-9a-f]{40,64}$/;

/**
 * Reads a delivery of GitLab (docs: "Webhook events") by its object_kind: a merge request, a note at one, or a push.
 * What a merge request's hook says of approvals is not taken: the API tells all of them with their times, so the merge
 * request is only named. Undefined where no project is named.
 * @throws WhochangedError `invalid_request` where a field is of another type than GitLab sends
 */
export function gitlabDelivery(body: unknown, nowMicros: number): HostDelivery | undefined {
  return asPromised('GitLab', () => readDelivery(body, nowMicros));
}

function readDelivery(body: unknown, nowMicros: number): HostDelivery | undefined {
  const payload = (typeof body === 'object' && body !== null ? body : {}) as Payload;
  const project = payload.project?.path_with_namespace;
  if (typeof project !== 'string') return undefined;
  const delivery: HostDelivery = { project, due: [], approvals: [] };
  const { object_attributes: attributes } = payload;
  if (typeof attributes?.action === 'string') delivery.action = attributes.action;
  if (payload.object_kind === 'push') return withPush(delivery, payload, nowMicros);
  const named = payload.object_kind === 'merge_request' ? attributes : payload.merge_request;
  if (named && Number.isInteger(named.iid))
    delivery.due.push({ number: named.iid!, changedAt: parseMicros(zoned(named.updated_at)) ?? nowMicros });
  return delivery;
}

function withPush(delivery: HostDelivery, payload: Payload, nowMicros: number): HostDelivery {
  const { ref, before, after, user_username, user_name, user_email } = payload;
  if (!ref?.startsWith('refs/heads/') || !SHA.test(before ?? '') || !SHA.test(after ?? '')) return delivery;
  if (/^0+$/.test(after!) || typeof user_username !== 'string') return delivery;
  const pusher: Person = {
    ...(user_name && { name: user_name }),
    ...(user_email && { email: user_email }),
    login: user_username,
  };
  // The payload doesn't tell when it was pushed.
  delivery.push = { ref, before: before!, after: after!, pusher, pushedAt: nowMicros };
  return delivery;
}

/** GitLab's hooks write times as RFC 3339, or as `2026-03-02 09:00:00 UTC`. */
function zoned(time: string | undefined): string | undefined {
  return typeof time === 'string' ? time.replace(/ UTC$/, 'Z') : undefined;
}
