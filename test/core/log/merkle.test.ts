import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  consistencyRanges,
  EMPTY_ROOT,
  hashChildren,
  hashLeaf,
  inclusionRanges,
  verifyConsistency,
  verifyInclusion,
} from '../../../core/log/merkle.js';
import {
  edgeOf,
  growTiles,
  hashRanges,
  type LoadTiles,
  TILE_WIDTH,
  tileKey,
} from '../../../core/log/tiles.js';

/** RFC 6962, section 2.1, written as it stands there: what ours is compared with. */
function mth(leaves: readonly Buffer[]): Buffer {
  if (leaves.length === 0) return EMPTY_ROOT;
  if (leaves.length === 1) return leaves[0]!;
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return hashChildren(mth(leaves.slice(0, k)), mth(leaves.slice(k)));
}

function leavesOf(count: number): Buffer[] {
  return Array.from({ length: count }, (_, i) => hashLeaf(`leaf ${i}`));
}

/** A log kept as tiles in memory, grown in steps. */
class MemoryLog {
  size = 0;
  readonly tiles = new Map<string, Buffer>();

  add(leaves: Buffer[]): void {
    const edge = new Map(edgeOf(this.size).map((ref) => [tileKey(ref), this.tiles.get(tileKey(ref))!]));
    for (const { level, index, hashes } of growTiles(this.size, edge, leaves))
      this.tiles.set(tileKey({ level, index }), hashes);
    this.size += leaves.length;
  }

  readonly load: LoadTiles = async (refs) =>
    new Map(
      refs.flatMap((ref) =>
        this.tiles.has(tileKey(ref)) ? [[tileKey(ref), this.tiles.get(tileKey(ref))!]] : [],
      ),
    );

  async root(size = this.size): Promise<Buffer> {
    return (await hashRanges([{ start: 0, end: size }], this.load))[0]!;
  }
}

function grown(steps: number[]): MemoryLog {
  const log = new MemoryLog();
  const leaves = leavesOf(steps.reduce((sum, step) => sum + step, 0));
  for (const step of steps) log.add(leaves.slice(log.size, log.size + step));
  return log;
}

describe('the tree', () => {
  it('has the roots of the published test vectors', () => {
    // The reference trees of Certificate Transparency (google/certificate-transparency, merkletree tests).
    const inputs = [
      '',
      '00',
      '10',
      '2021',
      '3031',
      '40414243',
      '5051525354555657',
      '606162636465666768696a6b6c6d6e6f',
    ];
    const roots = [
      '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
      'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
      'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
      'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
      '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
      '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
      'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
      '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
    ];
    const leaves = inputs.map((hex) => hashLeaf(Buffer.from(hex, 'hex')));
    for (const [i, root] of roots.entries()) expect(mth(leaves.slice(0, i + 1)).toString('hex')).toBe(root);
    expect(EMPTY_ROOT.toString('hex')).toMatch(/^e3b0c44298fc1c14/);
  });

  it('kept as tiles has the same root as RFC 6962 says, however it grew', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 5 }),
        async (steps) => {
          const log = grown(steps);
          expect((await log.root()).equals(mth(leavesOf(log.size)))).toBe(true);
        },
      ),
      { numRuns: 25 },
    );
  });

  it('gives back the root of every size it had', async () => {
    const log = grown([700]);
    const leaves = leavesOf(700);
    for (const size of [1, 2, 3, 255, 256, 257, 511, 512, 513, 699, 700])
      expect((await log.root(size)).equals(mth(leaves.slice(0, size)))).toBe(true);
  });

  it('spans levels of tiles', async () => {
    const log = grown([TILE_WIDTH * TILE_WIDTH - 1, 2]);
    expect([...log.tiles.keys()].filter((key) => key.startsWith('2/'))).toEqual(['2/0']);
    const index = TILE_WIDTH * 7 + 3;
    const proof = await hashRanges(inclusionRanges(index, log.size), log.load);
    expect(verifyInclusion(hashLeaf(`leaf ${index}`), index, log.size, proof, await log.root())).toBe(true);
  });
});

describe('an inclusion proof', () => {
  const sizes = fc
    .integer({ min: 1, max: 700 })
    .chain((size) => fc.tuple(fc.constant(size), fc.nat({ max: size - 1 })));

  it('holds for its own leaf, place and tree, and for nothing else', async () => {
    await fc.assert(
      fc.asyncProperty(sizes, fc.nat(), async ([size, index], where) => {
        const log = grown([size]);
        const root = await log.root();
        const proof = await hashRanges(inclusionRanges(index, size), log.load);
        const leaf = hashLeaf(`leaf ${index}`);
        expect(verifyInclusion(leaf, index, size, proof, root)).toBe(true);
        expect(verifyInclusion(hashLeaf('another'), index, size, proof, root)).toBe(false);
        for (const other of [index - 1, index + 1])
          expect(verifyInclusion(leaf, other, size, proof, root)).toBe(false);
        expect(verifyInclusion(leaf, index, size, [...proof, leaf], root)).toBe(false);
        if (proof.length > 0) {
          const broken = proof.map((hash) => Buffer.from(hash));
          broken[where % broken.length]![where % 32]! ^= 1 << (where % 8);
          expect(verifyInclusion(leaf, index, size, broken, root)).toBe(false);
          expect(verifyInclusion(leaf, index, size, proof.slice(1), root)).toBe(false);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('is refused for a place outside the tree', () => {
    expect(() => inclusionRanges(3, 3)).toThrow(RangeError);
    expect(verifyInclusion(hashLeaf('x'), 3, 3, [], hashLeaf('x'))).toBe(false);
  });
});

describe('a consistency proof', () => {
  it('holds between any two sizes of one log', async () => {
    const log = grown([600]);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 600 }), fc.integer({ min: 0, max: 600 }), async (a, b) => {
        const [first, second] = [Math.min(a, b), Math.max(a, b)];
        const proof = await hashRanges(consistencyRanges(first, second), log.load);
        const [old, now] = [await log.root(first), await log.root(second)];
        expect(verifyConsistency(first, old, second, now, proof)).toBe(true);
        if (first > 0 && first < second) {
          expect(verifyConsistency(first, hashLeaf('other'), second, now, proof)).toBe(false);
          expect(verifyConsistency(first, old, second, hashLeaf('other'), proof)).toBe(false);
          expect(verifyConsistency(first, old, second, now, proof.slice(1))).toBe(false);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('cannot be made for a log whose past was rewritten', async () => {
    const leaves = leavesOf(300);
    const honest = new MemoryLog();
    honest.add(leaves.slice(0, 200));
    const forged = new MemoryLog();
    forged.add(leaves.map((leaf, i) => (i === 17 ? hashLeaf('rewritten') : leaf)));
    const proof = await hashRanges(consistencyRanges(200, 300), forged.load);
    expect(verifyConsistency(200, await honest.root(), 300, await forged.root(), proof)).toBe(false);
  });
});
