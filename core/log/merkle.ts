import { sha256 } from '../canonical.js';

/** The root of a tree without leaves: the hash of nothing (RFC 6962, section 2.1). */
export const EMPTY_ROOT = sha256('');

const LEAF = Buffer.from([0]);
/** 0x01 and two hashes: written again for each, since most of a log's hashes are of this kind. */
const node = Buffer.alloc(65, 1);

/** RFC 6962, section 2.1: SHA-256 of 0x00 and the leaf's bytes. */
export function hashLeaf(leaf: Uint8Array | string): Buffer {
  return sha256(typeof leaf === 'string' ? `\0${leaf}` : Buffer.concat([LEAF, leaf]));
}

/** RFC 6962, section 2.1: SHA-256 of 0x01 and the two hashes below. */
export function hashChildren(left: Uint8Array, right: Uint8Array): Buffer {
  node.set(left, 1);
  node.set(right, 33);
  return sha256(node);
}

/** The complete subtree over the leaves [index * 2^level, (index + 1) * 2^level). Indices are below 2^53. */
export interface Node {
  level: number;
  index: number;
}

/** Leaves [start, end) as a subtree of RFC 6962's tree: complete ones but for the right edge. */
export interface LeafRange {
  start: number;
  end: number;
}

/** Where RFC 6962 splits n > 1 leaves: the largest power of two below n. */
function splitOf(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

/** The complete subtrees that a range is made of, left to right. `start` must be a multiple of each one's width. */
export function nodesOfRange({ start, end }: LeafRange): Node[] {
  const nodes: Node[] = [];
  let at = start;
  while (at < end) {
    let level = 0;
    let width = 1;
    while (at % (width * 2) === 0 && at + width * 2 <= end) {
      width *= 2;
      level++;
    }
    nodes.push({ level, index: at / width });
    at += width;
  }
  return nodes;
}

/** The hash of a range from the hashes of its complete subtrees, left to right. */
export function hashOfNodes(hashes: readonly Uint8Array[]): Buffer {
  if (hashes.length === 0) return EMPTY_ROOT;
  let hash: Buffer = Buffer.from(hashes.at(-1)!);
  for (let i = hashes.length - 2; i >= 0; i--) hash = hashChildren(hashes[i]!, hash);
  return hash;
}

/**
 * The ranges whose hashes prove that leaf `index` is in the tree of `size` leaves, lowest first: PATH(m, D[n]) of
 * RFC 6962, section 2.1.1.
 * @throws RangeError unless 0 <= index < size
 */
export function inclusionRanges(index: number, size: number): LeafRange[] {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size)
    throw new RangeError(`leaf ${index} is not in a tree of ${size}`);
  const ranges: LeafRange[] = [];
  let start = 0;
  let end = size;
  while (end - start > 1) {
    const middle = start + splitOf(end - start);
    if (index < middle) {
      ranges.push({ start: middle, end });
      end = middle;
    } else {
      ranges.push({ start, end: middle });
      start = middle;
    }
  }
  return ranges.reverse();
}

/**
 * The ranges whose hashes prove that the tree of `first` leaves is a beginning of the tree of `second`: PROOF(m, D[n])
 * of RFC 6962, section 2.1.2. Empty where first is 0 or equals second.
 * @throws RangeError unless 0 <= first <= second
 */
export function consistencyRanges(first: number, second: number): LeafRange[] {
  if (!Number.isSafeInteger(first) || !Number.isSafeInteger(second) || first < 0 || first > second)
    throw new RangeError(`a tree of ${first} is no beginning of a tree of ${second}`);
  if (first === 0 || first === second) return [];
  const ranges: LeafRange[] = [];
  let start = 0;
  let end = second;
  // While the old tree is a whole subtree of the new one, its root is known to whoever checks.
  let whole = true;
  while (first < end) {
    const middle = start + splitOf(end - start);
    if (first <= middle) {
      ranges.push({ start: middle, end });
      end = middle;
    } else {
      ranges.push({ start, end: middle });
      start = middle;
      whole = false;
    }
  }
  if (!whole) ranges.push({ start, end });
  return ranges.reverse();
}

/** The root that an inclusion proof leads to; undefined when the proof hasn't the length that index and size ask for. */
export function rootOfInclusion(
  leafHash: Uint8Array,
  index: number,
  size: number,
  proof: readonly Uint8Array[],
): Buffer | undefined {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size)
    return undefined;
  const ranges = inclusionRanges(index, size);
  if (ranges.length !== proof.length) return undefined;
  let hash: Buffer = Buffer.from(leafHash);
  for (const [i, range] of ranges.entries()) {
    hash = range.start > index ? hashChildren(hash, proof[i]!) : hashChildren(proof[i]!, hash);
  }
  return hash;
}

/** Whether a leaf with this hash stands at `index` of the tree with this size and root. */
export function verifyInclusion(
  leafHash: Uint8Array,
  index: number,
  size: number,
  proof: readonly Uint8Array[],
  root: Uint8Array,
): boolean {
  return rootOfInclusion(leafHash, index, size, proof)?.equals(root) ?? false;
}

/** Whether the tree of `first` leaves with root `firstRoot` is a beginning of the second one (RFC 9162, section 2.1.4.2). */
export function verifyConsistency(
  first: number,
  firstRoot: Uint8Array,
  second: number,
  secondRoot: Uint8Array,
  proof: readonly Uint8Array[],
): boolean {
  if (!Number.isSafeInteger(first) || !Number.isSafeInteger(second) || first < 0 || first > second)
    return false;
  if (first === second) return proof.length === 0 && equal(firstRoot, secondRoot);
  if (first === 0) return proof.length === 0 && equal(firstRoot, EMPTY_ROOT);
  const ranges = consistencyRanges(first, second);
  if (ranges.length !== proof.length) return false;
  const hashes = [...proof];
  // The subtree that both trees share, from which the old root and the new one are built up.
  let oldHash: Uint8Array;
  let newHash: Uint8Array;
  let rest: LeafRange[];
  if (ranges[0]!.end === first) {
    oldHash = newHash = hashes.shift()!;
    rest = ranges.slice(1);
  } else {
    oldHash = newHash = firstRoot;
    rest = ranges;
  }
  for (const [i, range] of rest.entries()) {
    const hash = hashes[i]!;
    if (range.start < first) {
      oldHash = hashChildren(hash, oldHash);
      newHash = hashChildren(hash, newHash);
    } else {
      newHash = hashChildren(newHash, hash);
    }
  }
  return equal(oldHash, firstRoot) && equal(newHash, secondRoot);
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
