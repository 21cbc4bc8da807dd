import type { AcceptedBody, AcceptedEvent, Rejection } from '../../core/accept.js';
import { STAGES } from '../../core/audit-event.js';
import { EVENT_CLASSES } from '../../core/vocabulary.js';
import { CopyFields } from '../../store/copy-fields.js';
import type { EntryIDs } from '../../store/dictionaries.js';
import { encodeEventRow } from '../../store/event-row.js';
import type { Taken, TakenLast } from './acceptance.js';
import { EVENT, type MessageParts, UnpackedEvent } from './unpacked-event.js';

/**
 * Accepted events on their way between threads. Cloning them as they are would cost as much as parsing them did, so
 * numbers and bytes are handed over: of each event its canonical JSON, which is parsed only when someone needs it, and
 * its row as it will be stored; of each body its canonical JSON, once. `events` and `bodies` say where what stands in `bytes`.
 */
export interface TakenMessage {
  auditIDs: string[];
  requestIDs: string[];
  events: Float64Array<ArrayBuffer>;
  bodies: Float64Array<ArrayBuffer>;
  bytes: Uint8Array<ArrayBuffer>;
  rejections: Array<Omit<Rejection, 'digest'> & { digest: string }>;
  /** Of the items, as received. */
  itemBytes: number;
  empty: boolean;
  rest: Pick<TakenLast, 'skipped' | 'salvaged' | 'format'>;
}

/** What of a message is handed over, not copied. */
export function transferred(message: TakenMessage): ArrayBuffer[] {
  return [message.events.buffer, message.bodies.buffer, message.bytes.buffer];
}

export function packTaken(taken: Taken | TakenLast, ids: EntryIDs): TakenMessage {
  const bytes = new CopyFields();
  const events = new Float64Array(taken.accepted.length * EVENT.numbers);
  const bodies: number[] = [];
  const places = new Map<string, number>();
  const put = (part: Uint8Array): number => {
    bytes.raw(part);
    return bytes.length - part.length;
  };
  const place = (body: AcceptedBody | undefined): number => {
    if (!body) return -1;
    const digest = body.digest.toString('latin1');
    let at = places.get(digest);
    if (at === undefined) {
      at = bodies.length;
      places.set(digest, at);
      const start = put(body.json);
      bodies.push(put(body.digest), start, start + body.json.length);
    }
    return at;
  };
  let at = 0;
  for (const accepted of taken.accepted) {
    const row = encodeEventRow(bytes, accepted, ids);
    const json = put(accepted.json);
    events[at + EVENT.class] = EVENT_CLASSES.indexOf(accepted.class);
    events[at + EVENT.stage] = STAGES.indexOf(accepted.stage);
    events[at + EVENT.awaitsOutcome] = accepted.awaitsOutcome ? 1 : 0;
    events[at + EVENT.requestReceivedTimestamp] = accepted.requestReceivedTimestamp;
    events[at + EVENT.stageTimestamp] = accepted.stageTimestamp;
    events[at + EVENT.size] = accepted.size;
    events[at + EVENT.digest] = put(accepted.digest);
    events[at + EVENT.jsonStart] = json;
    events[at + EVENT.jsonEnd] = json + accepted.json.length;
    events[at + EVENT.columnsStart] = row.start;
    events[at + EVENT.columnsEnd] = row.end;
    events[at + EVENT.referenceBytes] = row.referenceBytes;
    events[at + EVENT.request] = place(accepted.request);
    events[at + EVENT.response] = place(accepted.response);
    at += EVENT.numbers;
  }
  return {
    auditIDs: taken.accepted.map((accepted) => accepted.auditID),
    requestIDs: taken.accepted.map((accepted) => accepted.requestID),
    events,
    bodies: Float64Array.from(bodies),
    bytes: bytes.copy(),
    rejections: taken.rejections.map((item) => ({ ...item, digest: item.digest.toString('base64') })),
    itemBytes: taken.bytes,
    empty: 'empty' in taken && taken.empty,
    rest: {
      ...(taken.skipped && { skipped: taken.skipped, salvaged: taken.salvaged }),
      ...('format' in taken && { format: taken.format }),
    },
  };
}

export function unpackTaken(message: TakenMessage): TakenLast {
  const { bytes, events, bodies } = message;
  const parts: MessageParts = {
    bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
    events,
    bodies,
  };
  const accepted: AcceptedEvent[] = message.auditIDs.map(
    (auditID, i) => new UnpackedEvent(parts, i * EVENT.numbers, auditID, message.requestIDs[i]!),
  );
  return {
    accepted,
    rejections: message.rejections.map((item) => ({ ...item, digest: Buffer.from(item.digest, 'base64') })),
    bytes: message.itemBytes,
    empty: message.empty,
    release: () => giveBack(transferred(message)),
    ...message.rest,
  };
}

/**
 * Gives memory back at once. It lies outside of V8's heap, which lets it grow by 64 MB before it looks for what is not
 * needed any more; handed over to nobody it goes.
 */
export function giveBack(buffers: ArrayBuffer[]): void {
  structuredClone(null, { transfer: buffers });
}
