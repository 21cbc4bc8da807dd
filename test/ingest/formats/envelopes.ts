import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AcceptedEvent } from '../../../core/accept.js';
import { createKeyedDigest } from '../../../core/redact/keyed-digest.js';
import { compileRedactionRules, DEFAULT_REDACTION_RULES } from '../../../core/redact/rules.js';
import { formatMicros } from '../../../core/timestamp.js';
import { openAcceptor, type TakenLast } from '../../../ingest/acceptance/acceptance.js';
import { FORMATS, type Format } from '../../../ingest/formats/format.js';

export const ENVELOPES = join(import.meta.dirname, '../../fixtures/envelopes');

export const redaction = {
  rules: compileRedactionRules(DEFAULT_REDACTION_RULES),
  digest: createKeyedDigest(Buffer.alloc(32, 7)),
};

export interface Sample {
  format: Format;
  path: string;
  bytes: Buffer;
}

/** Every sample object, by the format whose folder it stands in. */
export const SAMPLES: Sample[] = FORMATS.flatMap((format) =>
  readdirSync(join(ENVELOPES, format))
    .filter((name) => !name.endsWith('.golden.json'))
    .map((name) => ({
      format,
      path: `${format}/${name}`,
      bytes: readFileSync(join(ENVELOPES, format, name)),
    })),
);

/** The Events that the samples wrap, as a webhook would post them. */
export const POSTED = Buffer.from(
  `{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[${readFileSync(join(ENVELOPES, 'events.ndjson'), 'utf8').trim().split('\n').join(',')}]}`,
);

/** Accepts a whole object that comes in the given pieces. */
export function accept(
  bytes: Buffer,
  format: Format | 'auto' | undefined,
  cuts: readonly number[] = [],
  maxItemBytes = 1 << 20,
): TakenLast {
  const acceptor = openAcceptor(redaction, maxItemBytes, format);
  const bounds = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  const all: TakenLast = { accepted: [], rejections: [], bytes: 0, skipped: {}, salvaged: 0, empty: false };
  const add = (taken: TakenLast | Omit<TakenLast, 'empty'>) => {
    all.accepted.push(...taken.accepted);
    all.rejections.push(...taken.rejections);
    all.bytes += taken.bytes;
    all.salvaged! += taken.salvaged ?? 0;
    for (const [reason, count] of Object.entries(taken.skipped ?? {}) as Array<['other_log', number]>)
      all.skipped![reason] = (all.skipped![reason] ?? 0) + count;
  };
  // The pieces are copies that are overwritten afterwards: nothing may point into one.
  for (let i = 1; i < bounds.length; i++) {
    const piece = Buffer.from(bytes.subarray(bounds[i - 1], bounds[i]));
    add(acceptor.push(piece));
    piece.fill(0x21);
  }
  const last = acceptor.end();
  add(last);
  return { ...all, empty: last.empty, format: last.format };
}

/** What a person should read of it: events with times in RFC 3339, everything else as it is. */
export function normalized(taken: TakenLast): unknown {
  return {
    format: taken.format,
    events: taken.accepted.map(normalizedEvent),
    salvaged: taken.salvaged,
    skipped: taken.skipped,
    rejections: taken.rejections.map(({ reason, detail, sample }) => ({ reason, detail, sample })),
  };
}

function normalizedEvent({ event, class: eventClass, requestID }: AcceptedEvent): unknown {
  return {
    requestID,
    class: eventClass,
    event: {
      ...event,
      requestReceivedTimestamp: formatMicros(event.requestReceivedTimestamp),
      stageTimestamp: formatMicros(event.stageTimestamp),
    },
  };
}
