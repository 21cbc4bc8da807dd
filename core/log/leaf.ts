import { hashLeaf } from './merkle.js';

/**
 * What a leaf of the proof log stands for. A leaf is a small record with the digest of what it proves, never the thing
 * itself: what a person may ask to be erased can be, and the log still holds.
 */
export const LEAF_TYPES = ['event', 'verdict', 'access'] as const;
export type LeafType = (typeof LEAF_TYPES)[number];

export interface Leaf {
  type: LeafType;
  /** The cluster's name; empty where the record belongs to none. */
  cluster: string;
  /** The source that told of an event; for other records, where they were made. */
  origin: string;
  /** The record's own number: for an event its `seq`, the order of commit within the cluster. */
  seq: number;
  /** Microseconds since the Unix epoch. */
  at: number;
  /** SHA-256 of the record's canonical form. */
  digest: Uint8Array;
}

/** The origin of late leaves. Verdicts and access events have none of their own; events never get late leaves. */
const LATE_ORIGIN = 'late';

/**
 * The leaf of a record that was stored long before, and had none: it says so itself, with the time at which the leaf was
 * made in the place of the record's. Of the time before that the log proves nothing.
 */
export function lateLeaf(leaf: Leaf, madeAt: number): Leaf {
  return { ...leaf, origin: LATE_ORIGIN, at: madeAt };
}

/** Whether a leaf says that it was made later than its record. */
export function isLate({ type, origin }: Leaf): boolean {
  return type !== 'event' && origin === LATE_ORIGIN;
}

const HEAD = 'whochanged/leaf/v1';
const FIELDS = ['type', 'cluster', 'origin', 'seq', 'at', 'sha256'] as const;

/**
 * The bytes that are hashed: a line of text for each field, so that a person can read them and any tool make them anew.
 * Names can't hold a newline (the schema's checks).
 */
export function formatLeaf({ type, cluster, origin, seq, at, digest }: Leaf): string {
  const hex = Buffer.from(digest.buffer, digest.byteOffset, digest.length).toString('hex');
  return `${HEAD}\ntype ${type}\ncluster ${cluster}\norigin ${origin}\nseq ${seq}\nat ${at}\nsha256 ${hex}\n`;
}

/** @throws RangeError naming the line that is wrong */
export function parseLeaf(text: string): Leaf {
  const [head, ...lines] = text.split('\n');
  if (head !== HEAD) throw new RangeError(`line 1: expected ${HEAD}`);
  const values = FIELDS.map((field, i) => {
    const line = lines[i] ?? '';
    if (!line.startsWith(`${field} `)) throw new RangeError(`line ${i + 2}: expected "${field} ..."`);
    return line.slice(field.length + 1);
  }) as [string, string, string, string, string, string];
  if (lines.length !== FIELDS.length + 1 || lines.at(-1) !== '')
    throw new RangeError('expected no further lines');
  const [type, cluster, origin, seq, at, hex] = values;
  if (!(LEAF_TYPES as readonly string[]).includes(type)) throw new RangeError(`line 2: no such type`);
  if (!/^\d{1,16}$/.test(seq)) throw new RangeError('line 5: expected a number');
  if (!/^\d{1,16}$/.test(at)) throw new RangeError('line 6: expected a number');
  if (!/^[0-9a-f]{64}$/.test(hex)) throw new RangeError('line 7: expected 64 hexadecimal digits');
  return {
    type: type as LeafType,
    cluster,
    origin,
    seq: Number(seq),
    at: Number(at),
    digest: Buffer.from(hex, 'hex'),
  };
}

export function leafHash(leaf: Leaf): Buffer {
  return hashLeaf(formatLeaf(leaf));
}
