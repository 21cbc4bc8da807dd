import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Json } from '../../core/audit-event.js';
import { canonicalBody, canonicalJson } from '../../core/canonical.js';

function reordered(value: Json, seed: number): Json {
  if (Array.isArray(value)) return value.map((item) => reordered(item, seed));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, item]) => [key, reordered(item, seed + 1)] as const);
  const turned = entries
    .slice(seed % (entries.length || 1))
    .concat(entries.slice(0, seed % (entries.length || 1)));
  return Object.fromEntries(turned.reverse());
}

describe('canonicalJson', () => {
  it('does not depend on key order, and loses nothing', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.nat(20), (value, seed) => {
        const json = JSON.parse(JSON.stringify(value)) as Json;
        expect(canonicalJson(reordered(json, seed))).toBe(canonicalJson(json));
        expect(JSON.parse(canonicalJson(json))).toEqual(json);
      }),
    );
  });

  it('writes as RFC 8785 does', () => {
    expect(
      canonicalJson({ b: [56.0, 1e30, 4.5, 2e-3, 1e-27], a: { '\u20ac': 'Euro', '\r': 'CR', '1': 'One' } }),
    ).toBe('{"a":{"\\r":"CR","1":"One","€":"Euro"},"b":[56,1e+30,4.5,0.002,1e-27]}');
  });

  it('writes every string, number and key as JSON.stringify does', () => {
    const text = fc.string({ unit: 'binary', maxLength: 40 });
    fc.assert(
      fc.property(
        fc.array(text, { maxLength: 5 }),
        fc.array(fc.double(), { maxLength: 5 }),
        text,
        (strings, numbers, key) => {
          expect(canonicalJson(strings)).toBe(JSON.stringify(strings));
          expect(canonicalJson(numbers)).toBe(JSON.stringify(numbers));
          expect(canonicalJson({ [key]: null })).toBe(`{${JSON.stringify(key)}:null}`);
        },
      ),
    );
    const awkward = ['\u0000\u001f"\\\n\t\u007f\u2028', '\ud800', '\udc00x', '😀'.repeat(50_000)];
    expect(canonicalJson(awkward)).toBe(JSON.stringify(awkward));
  });

  it('leaves nothing of one value in the next', () => {
    const first = canonicalBody({ a: 'x'.repeat(5000) });
    const second = canonicalBody({ a: 'y' });
    expect(first.json.toString()).toBe(`{"a":"${'x'.repeat(5000)}"}`);
    expect(second.json.toString()).toBe('{"a":"y"}');
  });

  it('gives different digests to different values', () => {
    expect(canonicalBody({ a: 1 }).digest.equals(canonicalBody({ a: '1' }).digest)).toBe(false);
  });
});
