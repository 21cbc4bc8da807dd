import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { decompress } from '../../ingest/decompress.js';
import { isDamage } from '../../ingest/piece-reader.js';
import { zstd, zstdReady } from '../harness/zstd.js';

beforeAll(zstdReady);

const PACKINGS = {
  gzip: (text: string) => gzipSync(text),
  zstd: (text: string) => zstd(Buffer.from(text)),
};
type Packing = keyof typeof PACKINGS;
const BOTH: Packing[] = ['gzip', 'zstd'];

/** Lines that differ and compress as audit logs do. */
const text = (name: string, count: number) =>
  Array.from({ length: count }, (_, i) => `${name} ${i} ${(i * 2654435761) >>> 0} kubernetes.io\n`).join('');

/** What comes out of bytes that arrive in pieces which end at the given places. */
async function unpacked(bytes: Buffer, cuts: number[] = [], careful = false) {
  const bounds = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  async function* pieces() {
    for (let i = 1; i < bounds.length; i++) yield bytes.subarray(bounds[i - 1], bounds[i]);
  }
  const out: Buffer[] = [];
  const damage: string[] = [];
  for await (const piece of decompress(pieces(), careful)) {
    if (isDamage(piece)) damage.push(piece.damage);
    else out.push(Buffer.from(piece));
  }
  return { text: Buffer.concat(out).toString('latin1'), damage };
}

describe.each(BOTH)('%s', (packing) => {
  const pack = PACKINGS[packing];

  it('gives what was packed, in any number of members or frames, and wherever it is cut into pieces', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat({ max: 300 }), { minLength: 1, maxLength: 4 }),
        fc.array(fc.nat(), { maxLength: 6 }),
        async (counts, cuts) => {
          const texts = counts.map((count, i) => text(`part-${i}`, count));
          expect(await unpacked(Buffer.concat(texts.map(pack)), cuts)).toEqual({
            text: texts.join(''),
            damage: [],
          });
        },
      ),
      { numRuns: 25 },
    );
    const whole = text('large', 30_000);
    expect(await unpacked(pack(whole))).toEqual({ text: whole, damage: [] });
  });

  it('that is cut off gives what stands before, says so, and goes on behind it', async () => {
    const whole = text('cut', 20_000);
    const bytes = pack(whole);
    for (const share of [0.3, 0.7, 0.999]) {
      const cut = bytes.subarray(0, Math.floor(bytes.length * share));
      for (const careful of [false, true]) {
        const alone = await unpacked(cut, [], careful);
        expect(whole.startsWith(alone.text)).toBe(true);
        expect(alone.damage).toEqual([
          expect.stringMatching(new RegExp(`^${packing}: it is cut off, near byte`)),
        ]);
        // What follows at once is taken for its rest at first, and what stands before must not come again.
        const [before, behind, last] = [text('before', 20), text('behind', 50), text('last', 5)];
        const around = Buffer.concat([pack(before), cut, pack(behind), pack(last)]);
        const followed = await unpacked(around, [], careful);
        expect(followed.text.startsWith(before)).toBe(true);
        expect(followed.text.endsWith(behind + last)).toBe(true);
        for (const name of ['before', 'cut', 'behind'])
          expect(followed.text.split(text(name, 8).slice(text(name, 7).length))).toHaveLength(2);
        expect(followed.damage.length).toBeGreaterThan(0);
      }
    }
    // Most of what stands before the break is there, of zstd by blocks of 128 KiB.
    const most = await unpacked(bytes.subarray(0, Math.floor(bytes.length * 0.7)), [], true);
    expect(most.text.length).toBeGreaterThan(whole.length * 0.5);
  });

  it('that is overwritten in the midst loses no member or frame but its own, and is never silent about it', async () => {
    const [before, hurt, behind] = [text('before', 300), text('hurt', 20_000), text('behind', 300)];
    const damaged = pack(hurt);
    damaged.fill(0xff, damaged.length / 2, damaged.length / 2 + 64);
    const { text: out, damage } = await unpacked(Buffer.concat([pack(before), damaged, pack(behind)]));
    expect(out.startsWith(before)).toBe(true);
    expect(out.endsWith(behind)).toBe(true);
    // zstd has no checksum that is looked at: there it may be the text itself that tells.
    if (packing === 'gzip') expect(damage).toHaveLength(1);
    else expect(damage.length > 0 || !out.includes(hurt)).toBe(true);
  });

  it('within the other is unpacked too', async () => {
    const whole = text('nested', 500);
    const within = packing === 'gzip' ? zstd(pack(whole)) : gzipSync(pack(whole));
    expect(await unpacked(within)).toEqual({ text: whole, damage: [] });
  });
});

it('passes over the zeros that some tools pad a gzip with', async () => {
  const whole = text('padded', 100);
  const { text: out } = await unpacked(Buffer.concat([gzipSync(whole), Buffer.alloc(512), gzipSync(whole)]));
  expect(out).toBe(whole + whole);
});

it('passes on what is neither, to the byte', async () => {
  const noise = Buffer.from(Array.from({ length: 4000 }, (_, i) => (i * 7919) % 251));
  expect(await unpacked(noise, [1, 2, 3])).toEqual({ text: noise.toString('latin1'), damage: [] });
  expect(await unpacked(Buffer.alloc(0))).toEqual({ text: '', damage: [] });
});
