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

  it('gives different digests to different values', () => {
    expect(canonicalBody({ a: 1 }).digest.equals(canonicalBody({ a: '1' }).digest)).toBe(false);
  });
});
