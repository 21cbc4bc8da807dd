import type { Stage } from './audit-event.js';

/** The content of an object of a bucket, or an imported file (without a bucket), that held an event. */
export interface ToldIn {
  bucket: string;
  key: string;
  etag: string;
  /** In a bucket with versions. */
  versionID: string | null;
}

/** One stored event of a request, as a source told it. */
export interface ToldEvent {
  source: string;
  kind: string;
  stage: Stage;
  /** Order of commit within the cluster, decimal. */
  seq: string;
  /** SHA-256 of the canonical redacted event, hex. */
  digest: string;
  /** Undefined for an event that was posted. */
  object: ToldIn | undefined;
}

/**
 * Whether the sources of one request agree. `only`: no other source told the same stage. `equal`: each that did told
 * the very same. `conflicting`: two copies of a stage differ, in this source or between it and another.
 */
export const AGREEMENTS = ['only', 'equal', 'conflicting'] as const;
export type Agreement = (typeof AGREEMENTS)[number];

/** What one source told of a request. */
export interface Provenance {
  source: string;
  kind: string;
  stages: Array<{ stage: Stage; seq: string; digest: string; object?: ToldIn }>;
  /** When it first told of it, in the cluster's order of commit. */
  firstSeq: string;
  agreement: Agreement;
}

/** Groups the events of one request by the sources that told them; the first to tell comes first. */
export function provenanceOf(events: ToldEvent[]): Provenance[] {
  const ordered = [...events].sort((a, b) => Number(BigInt(a.seq) - BigInt(b.seq)));
  const sources = new Map<string, Provenance>();
  for (const { source, kind, stage, seq, digest, object } of ordered) {
    const told = sources.get(source);
    const one = { stage, seq, digest, ...(object && { object }) };
    if (told) told.stages.push(one);
    else
      sources.set(source, {
        source,
        kind,
        stages: [one],
        firstSeq: seq,
        agreement: 'only',
      });
  }
  for (const told of sources.values()) told.agreement = agreementOf(told, ordered);
  return [...sources.values()];
}

function agreementOf(told: Provenance, events: ToldEvent[]): Agreement {
  let agreement: Agreement = 'only';
  for (const { stage, digest } of told.stages) {
    for (const other of events) {
      if (other.stage !== stage) continue;
      if (other.digest !== digest) return 'conflicting';
      if (other.source !== told.source) agreement = 'equal';
    }
  }
  return agreement;
}
