import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

const RECORDING = join(import.meta.dirname, '../test/fixtures/session/recording.ndjson.gz');
const UUID = /\b([0-9a-f]{8})(-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\b/g;
const TIME = /"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(\.\d{6})?Z"/g;
const REVISION = /"resourceVersion":"(\d+)"/g;
/** The session's few 700 KB ConfigMaps, once in three minutes each, would be half of all bytes: no cluster is like that. */
const MAX_LINE = 64 * 1024;
/** The recorded session takes about three minutes; each repetition begins where the one before ended. */
export const SESSION_SECONDS = 190;

/**
 * Audit traffic of any size with the mix of a recorded cluster: its session again and again, every time with other
 * ids, namespaces, versions and times. The same for the same number.
 */
export class Traffic {
  readonly #lines: string[];

  /** `lean`: as under a policy that logs what controllers write all the time (status, leases, Events) at level Metadata. */
  constructor(options: { lean?: boolean } = {}) {
    const lines = gunzipSync(readFileSync(RECORDING)).toString('utf8').trim().split('\n');
    this.#lines = lines.filter((line) => line.length <= MAX_LINE).map(options.lean ? leaned : (line) => line);
  }

  get eventsPerSession(): number {
    return this.#lines.length;
  }

  /** The events of repetition `n`, as JSON texts. */
  session(n: number): string[] {
    const times = new Map<string, string>();
    return this.#lines.map((line) =>
      line
        .replace(
          UUID,
          (_all, head: string, tail: string) =>
            ((Number.parseInt(head, 16) ^ Math.imul(n, 0x9e3779b1)) >>> 0).toString(16).padStart(8, '0') +
            tail,
        )
        .replace(REVISION, (_all, revision: string) => `"resourceVersion":"${Number(revision) + n * 20_000}"`)
        .replace(
          TIME,
          (_all, second: string, fraction = '') =>
            `"${shifted(times, second, n * SESSION_SECONDS)}${fraction}Z"`,
        )
        .replaceAll('shop', `shop-${n}`),
    );
  }

  /** Bodies as the apiserver posts them, 400 events each (its default batch). */
  *batches(sessions: Iterable<number>): Generator<{ body: string; events: number }> {
    const waiting: string[] = [];
    for (const n of sessions) {
      waiting.push(...this.session(n));
      while (waiting.length >= 400) yield batchOf(waiting.splice(0, 400));
    }
    if (waiting.length > 0) yield batchOf(waiting);
  }
}

interface Logged {
  level: string;
  objectRef?: { resource?: string; subresource?: string };
  requestObject?: unknown;
  responseObject?: unknown;
}

function leaned(line: string): string {
  const event = JSON.parse(line) as Logged;
  const { resource = '', subresource } = event.objectRef ?? {};
  if (subresource !== 'status' && !['leases', 'events'].includes(resource)) return line;
  event.level = 'Metadata';
  delete event.requestObject;
  delete event.responseObject;
  return JSON.stringify(event);
}

function batchOf(lines: string[]): { body: string; events: number } {
  return {
    body: `{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[${lines.join(',')}]}`,
    events: lines.length,
  };
}

/** A time in whole seconds (`2026-11-24T13:37:44`), so many seconds later. `times` remembers, for one `by`. */
export function shifted(times: Map<string, string>, second: string, by: number): string {
  let text = times.get(second);
  if (text === undefined) {
    text = new Date(Date.parse(`${second}Z`) + by * 1000).toISOString().slice(0, 19);
    times.set(second, text);
  }
  return text;
}
