import type { AcceptedBody, AcceptedEvent } from '../core/accept.js';
import type { AuditEvent, Json } from '../core/audit-event.js';
import { decodeBody } from '../store/body-encoding.js';

/** An accepted event with its bodies, which one that was accepted in another thread holds encoded only. */
export function wholeEvent({ event, request, response }: AcceptedEvent): AuditEvent {
  const whole = { ...event };
  if (request && whole.requestObject === undefined) whole.requestObject = bodyValue(request);
  if (response && whole.responseObject === undefined) whole.responseObject = bodyValue(response);
  return whole;
}

function bodyValue(body: AcceptedBody): Json {
  const json = body.json?.toString('utf8') ?? decodeBody(body.encoded!.encoding, body.encoded!.content);
  return JSON.parse(json) as Json;
}
