import type { AcceptedBody, AcceptedEvent, Rejection } from '../../core/accept.js';
import type { AuditEvent, Json } from '../../core/audit-event.js';
import { CHANGE_CLASSES, type EventClass } from '../../core/vocabulary.js';
import { encodeBody } from '../../store/body-encoding.js';
import type { Taken, TakenLast } from './acceptance.js';

/** A body: its digest, its place among the texts or -1, and where it stands encoded among the contents. */
type BodyPlace = [digest: string, text: number, encoding: number, start: number, end: number, size: number];

interface Head {
  event: AuditEvent;
  class: EventClass;
  requestID: string;
  digest: string;
  size: number;
  request: BodyPlace | null;
  response: BodyPlace | null;
}

/**
 * Accepted events on their way between threads. Cloning them as they are would cost as much as parsing them did, so
 * they go as one JSON text without bodies; a body goes as text only where its change will be projected, and otherwise
 * encoded as it will be stored.
 */
export interface TakenMessage {
  heads: string;
  texts: string[];
  contents: Uint8Array;
  rejections: Array<Omit<Rejection, 'digest'> & { digest: string }>;
  bytes: number;
  empty: boolean;
  rest: Pick<TakenLast, 'skipped' | 'salvaged' | 'format'>;
}

export function packTaken(taken: Taken | TakenLast): TakenMessage {
  const texts: string[] = [];
  const contents: Buffer[] = [];
  const places = new Map<string, BodyPlace>();
  let length = 0;
  const place = (body: AcceptedBody | undefined, projected: boolean): BodyPlace | null => {
    if (!body) return null;
    const digest = body.digest.toString('base64');
    let known = places.get(digest);
    if (!known) {
      const { encoding, content } = body.encoded ?? encodeBody(body.json!);
      known = [digest, -1, encoding, length, length + content.length, body.size];
      contents.push(content);
      length += content.length;
      places.set(digest, known);
    }
    if (projected && known[1] < 0) known[1] = texts.push(body.json!.toString('utf8')) - 1;
    return known;
  };
  const heads: Head[] = taken.accepted.map((accepted) => {
    const { requestObject: _request, responseObject: _response, ...event } = accepted.event;
    const projected = (CHANGE_CLASSES as readonly string[]).includes(accepted.class);
    return {
      event,
      class: accepted.class,
      requestID: accepted.requestID,
      digest: accepted.digest.toString('base64'),
      size: accepted.size,
      request: place(accepted.request, projected),
      response: place(accepted.response, projected),
    };
  });
  // A buffer of its own: it is handed over, not copied.
  const all = new Uint8Array(length);
  let at = 0;
  for (const content of contents) {
    all.set(content, at);
    at += content.length;
  }
  return {
    heads: JSON.stringify(heads),
    texts,
    contents: all,
    rejections: taken.rejections.map((item) => ({ ...item, digest: item.digest.toString('base64') })),
    bytes: taken.bytes,
    empty: 'empty' in taken && taken.empty,
    rest: {
      ...(taken.skipped && { skipped: taken.skipped, salvaged: taken.salvaged }),
      ...('format' in taken && { format: taken.format }),
    },
  };
}

export function unpackTaken(message: TakenMessage): TakenLast {
  const contents = Buffer.from(message.contents.buffer, message.contents.byteOffset, message.contents.length);
  const parsed = message.texts.map((text) => JSON.parse(text) as Json);
  const body = (place: BodyPlace | null): AcceptedBody | undefined =>
    place === null
      ? undefined
      : {
          digest: Buffer.from(place[0], 'base64'),
          json: undefined,
          encoded: { encoding: place[2], content: contents.subarray(place[3], place[4]) },
          size: place[5],
        };
  const accepted = (JSON.parse(message.heads) as Head[]).map((head): AcceptedEvent => {
    const { event } = head;
    if (head.request && head.request[1] >= 0) event.requestObject = parsed[head.request[1]]!;
    if (head.response && head.response[1] >= 0) event.responseObject = parsed[head.response[1]]!;
    return {
      event,
      class: head.class,
      requestID: head.requestID,
      digest: Buffer.from(head.digest, 'base64'),
      size: head.size,
      request: body(head.request),
      response: body(head.response),
    };
  });
  return {
    accepted,
    rejections: message.rejections.map((item) => ({ ...item, digest: Buffer.from(item.digest, 'base64') })),
    bytes: message.bytes,
    empty: message.empty,
    ...message.rest,
  };
}
