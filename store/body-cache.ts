import type { ClientBase } from 'pg';
import { type AcceptedBody, acceptBody } from '../core/accept.js';
import type { Json, JsonObject } from '../core/audit-event.js';
import type { ParsedValues } from '../core/parsed-values.js';
import { RecentSet } from '../core/recent.js';
import { readBodies, type StoredBody } from './body-packs.js';
import { storeBodies } from './body-rows.js';

/** Digests that are known to be in the store, for each cluster: what is forgotten is asked for, so these needn't be many. */
const RECENTLY_STORED = 5000;

let caches = 0;

/**
 * Bodies by digest: parsed ones that are likely to be needed again, and which digests the store is known to have. A writer
 * has one for each cluster, all over one memory, so that many clusters take no more of it than one. Content-addressed, so
 * it never goes stale; what was swept from the store is forgotten with the cache. Cached values must not be mutated.
 */
export class BodyCache {
  readonly #parsed: ParsedValues;
  /** Keeps its bodies apart from other caches' in the memory they share: one may know of a body that another's store lost. */
  readonly #own = `${++caches} `;
  readonly #stored = new RecentSet<string>(RECENTLY_STORED);

  constructor(parsed: ParsedValues) {
    this.#parsed = parsed;
  }

  get(digest: string): Json | undefined {
    return this.#parsed.get(this.#own + digest);
  }

  put(digest: string, value: Json, size: number): void {
    this.#parsed.put(this.#own + digest, value, size);
  }

  /** Loads these digests into the answer, from memory or from the store. Digests that aren't there, or whose bodies were altered, are left out. */
  async load(client: ClientBase, clusterID: number, digests: Iterable<string>): Promise<Map<string, Json>> {
    const found = new Map<string, Json>();
    const missing: Buffer[] = [];
    for (const digest of new Set(digests)) {
      const value = this.get(digest);
      if (value === undefined) missing.push(Buffer.from(digest, 'hex'));
      else found.set(digest, value);
    }
    if (missing.length === 0) return found;
    const texts = await readBodies(
      (text, values) => client.query<StoredBody>({ name: 'bodies-by-digest', text, values }),
      clusterID,
      missing,
    );
    for (const [digest, text] of texts) {
      if (text === undefined) continue;
      const value = JSON.parse(text) as Json;
      found.set(digest, value);
      this.put(digest, value, text.length);
    }
    return found;
  }

  /** Writes the bodies that the store doesn't have, but those that were erased from it. `markStored` must follow once the transaction has committed. */
  async append(
    client: ClientBase,
    clusterID: number,
    bodies: ReadonlyMap<string, AcceptedBody>,
  ): Promise<void> {
    const candidates = [...bodies].filter(([digest]) => !this.#stored.has(digest));
    await storeBodies(
      client,
      clusterID,
      candidates.map(([, body]) => body),
    );
  }

  markStored(digests: Iterable<string>): void {
    for (const digest of digests) this.#stored.add(digest);
  }
}

/** The bodies of one batch: which digest each in-memory value has, and those to be stored. */
export class BatchBodies {
  readonly stored = new Map<string, AcceptedBody>();
  readonly #digests = new Map<object, string>();

  /** Registers a body for storing, and its value where that is in memory. */
  add(value: Json | undefined, body: AcceptedBody | undefined): void {
    if (!body) return;
    const digest = body.digest.toString('hex');
    if (!this.stored.has(digest)) this.stored.set(digest, body);
    if (typeof value === 'object' && value !== null) this.#digests.set(value, digest);
  }

  /** Registers a value that is in the store already. */
  addStored(value: Json, digest: string): void {
    if (typeof value === 'object' && value !== null) this.#digests.set(value, digest);
  }

  /** The digest of a value, registering a new one for storing. */
  digest(value: JsonObject | undefined): Buffer | undefined {
    if (value === undefined) return undefined;
    let digest = this.#digests.get(value);
    if (digest === undefined) {
      this.add(value, acceptBody(value));
      digest = this.#digests.get(value)!;
    }
    return Buffer.from(digest, 'hex');
  }
}
