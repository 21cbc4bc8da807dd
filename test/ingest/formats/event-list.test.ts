import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EventListSplitter } from '../../../ingest/formats/event-list.js';

function split(body: Buffer, cuts: number[] = [], maxItemBytes = 1 << 20) {
  const splitter = new EventListSplitter({ maxItemBytes });
  const items: Array<{ text: string; problem?: string }> = [];
  const bounds = [0, ...cuts.map((cut) => cut % (body.length + 1)).sort((a, b) => a - b), body.length];
  const take = (item: { bytes: Buffer; problem?: string }) =>
    items.push({ text: item.bytes.toString(), ...(item.problem && { problem: item.problem }) });
  for (let i = 1; i < bounds.length; i++) {
    for (const item of splitter.push(body.subarray(bounds[i - 1], bounds[i]))) take(item);
  }
  const rest = splitter.end();
  if (rest) take(rest);
  return { items, splitter };
}

describe('EventListSplitter', () => {
  it('gives back every item of any list, wherever the network cuts it', () => {
    const text = fc.string({
      unit: fc.constantFrom('"', '\\', '{', '}', '[', ']', ',', ':', 'a', 'é', '\n', '😀'),
    });
    const item = fc.dictionary(text, fc.oneof(text, fc.integer(), fc.array(text), fc.dictionary(text, text)));
    fc.assert(
      fc.property(fc.array(item), fc.array(fc.nat()), fc.boolean(), (objects, cuts, pretty) => {
        const list = {
          kind: 'EventList',
          apiVersion: 'audit.k8s.io/v1',
          metadata: { a: ['items'] },
          items: objects,
        };
        const body = Buffer.from(JSON.stringify(list, null, pretty ? 2 : undefined));
        const { items, splitter } = split(body, cuts);
        expect(items.map((found) => JSON.parse(found.text))).toEqual(objects);
        expect(splitter.apiVersion).toBe('audit.k8s.io/v1');
      }),
    );
  });

  it('keeps the good items around a broken one', () => {
    const body = '{"items":[{"a":1},{"b":2,,},"junk",{"c":3}],"apiVersion":"audit.k8s.io/v1"}';
    expect(split(Buffer.from(body)).items).toEqual([
      { text: '{"a":1}' },
      { text: '{"b":2,,}' },
      { text: '"junk"', problem: 'not_an_object' },
      { text: '{"c":3}' },
    ]);
  });

  it('reads bare Events, one a line', () => {
    expect(
      split(Buffer.from('{"kind":"Event"}\n{"kind":"Event","x":[1]}\n')).items.map((item) => item.text),
    ).toEqual(['{"kind":"Event"}', '{"kind":"Event","x":[1]}']);
  });

  it('says that a body was cut, and keeps what was whole', () => {
    expect(split(Buffer.from('{"items":[{"a":1},{"b":"'), [9]).items).toEqual([
      { text: '{"a":1}' },
      { text: '{"b":"', problem: 'unterminated' },
    ]);
  });

  it('passes over an item beyond the limit without holding it, and goes on', () => {
    const big = `{"x":"${'y'.repeat(300_000)}"}`;
    const body = Buffer.from(`{"items":[{"a":1},${big},{"c":3}]}`);
    const cuts = Array.from({ length: 60 }, (_, i) => i * 5000);
    const { items } = split(body, cuts, 100_000);
    expect(items.map((item) => [item.text.slice(0, 7), item.problem])).toEqual([
      ['{"a":1}', undefined],
      ['{"x":"y', 'too_large'],
      ['{"c":3}', undefined],
    ]);
  });

  it('refuses nesting that would exhaust a parser', () => {
    const deep = `${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`;
    expect(split(Buffer.from(`{"items":[${deep},{"c":3}]}`)).items.map((item) => item.problem)).toEqual([
      'too_deep',
      undefined,
    ]);
  });
});
