import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type RawRecord, RecordReader } from '../../../ingest/formats/records.js';

type Seen = Omit<RawRecord, 'bytes' | 'head' | 'list' | 'prefix' | 'type'> & { text: string };

function read(body: Buffer, cuts: number[] = [], maxRecordBytes = 1 << 20): Seen[] {
  const reader = new RecordReader({ maxRecordBytes });
  const seen: Seen[] = [];
  const take = ({ bytes, problem }: RawRecord) =>
    seen.push({ text: bytes.toString(), ...(problem && { problem }) });
  const bounds = [0, ...cuts.map((cut) => cut % (body.length + 1)).sort((a, b) => a - b), body.length];
  for (let i = 1; i < bounds.length; i++) {
    for (const record of reader.push(Buffer.from(body.subarray(bounds[i - 1], bounds[i])))) take(record);
  }
  const rest = reader.end();
  if (rest) take(rest);
  return seen;
}

const texts = (body: string) => read(Buffer.from(body)).map(({ text }) => text);

describe('RecordReader', () => {
  it('gives back every record, however they are laid out and wherever they are cut', () => {
    const text = fc.string({
      unit: fc.constantFrom('"', '\\', '{', '}', '[', ']', ',', ':', 'a', 'é', '\n', '😀', 'items'),
    });
    const object = fc.dictionary(
      text.filter((key) => !['items', 'records', 'Records', 'logEvents'].includes(key)),
      fc.oneof(text, fc.integer(), fc.array(text), fc.dictionary(text, text)),
    );
    const layouts: Array<(objects: object[]) => string> = [
      (objects) => objects.map((item) => `${JSON.stringify(item)}\n`).join(''),
      (objects) => objects.map((item) => JSON.stringify(item)).join(''),
      (objects) => objects.map((item) => JSON.stringify(item, null, 2)).join('\r\n'),
      (objects) => JSON.stringify(objects),
      (objects) => ` ${JSON.stringify(objects, null, 1)}\n`,
      (objects) => `\uFEFF${JSON.stringify({ a: ['records'], records: objects, b: { c: 1 } })}`,
      (objects) => JSON.stringify({ kind: 'List', metadata: {}, items: objects }, null, 2),
      (objects) => objects.map((item) => JSON.stringify({ logEvents: [item] })).join(''),
    ];
    fc.assert(
      fc.property(
        fc.array(object),
        fc.array(fc.nat()),
        fc.constantFrom(...layouts),
        (objects, cuts, layout) => {
          const seen = read(Buffer.from(layout(objects)), cuts);
          expect(seen.map((record) => ({ ...record, text: JSON.parse(record.text) }))).toEqual(
            objects.map((item) => ({ text: item })),
          );
        },
      ),
      { numRuns: 300 },
    );
  });

  it('finds the next record behind one that is broken off, wherever it is', () => {
    const line = JSON.stringify({ a: 'x{"y', b: { c: [1, { d: 'é' }], e: null }, f: 'z' });
    const good = JSON.stringify({ good: { yes: true } });
    for (let length = 1; length < line.length; length++) {
      const seen = read(Buffer.from(`${good}\n${line.slice(0, length)}\n${good}\n${good}\n`));
      expect(seen.map(({ text }) => text)).toEqual([good, expect.any(String), good, good]);
      expect(seen[1]).toMatchObject({ problem: 'cut' });
      expect(seen[1]!.text.trimEnd()).toBe(line.slice(0, length));
    }
  });

  it('takes lines of text for themselves, and a prefix for a prefix', () => {
    expect(
      texts('hello there {x} world\n{"a":1}\n2026-03-02T09:00:00.000Z {"b":2}\n[not a list\n[]\nlast'),
    ).toEqual(['hello there {x} world', '{"a":1}', '{"b":2}', '[not a list', 'last']);
    expect(texts('2026-03-02T09:00:00.000Z {"b":\n{"a":1}\n')).toEqual(['{"b":', '{"a":1}']);
  });

  it('says that a list or a record never ended', () => {
    expect(read(Buffer.from('{"records":[{"a":1},'))).toEqual([
      { text: '{"a":1}' },
      { text: '', problem: 'unterminated' },
    ]);
    expect(read(Buffer.from('[{"a":1}'))).toHaveLength(2);
    expect(read(Buffer.from('{"records":[{"a":"'))).toEqual([{ text: '{"a":"', problem: 'unterminated' }]);
    expect(read(Buffer.from('{"records":[{"a":1}],"next":{}}'))).toEqual([{ text: '{"a":1}' }]);
  });

  it('keeps the good records around a broken one', () => {
    expect(read(Buffer.from('{"records":[{"a":1},{"b":2,,},"junk",{"c":3}]}'))).toEqual([
      { text: '{"a":1}' },
      { text: '{"b":2,,}' },
      { text: '"junk"', problem: 'not_an_object' },
      { text: '{"c":3}' },
    ]);
  });

  it('passes over a record beyond the limit without holding it, and goes on', () => {
    const big = `{"x":"${'{"y":'.repeat(60_000)}"}`.replaceAll('{"y":', '{\\"y\\":');
    const nested = `{"x":[${'{"y":{"z":[{}]}},'.repeat(20_000)}1]}`;
    for (const huge of [big, nested]) {
      for (const body of [`{"a":1}\n${huge}\n{"c":3}\n`, `{"records":[{"a":1},${huge},{"c":3}]}`]) {
        const cuts = Array.from({ length: 80 }, (_, i) => i * 5000);
        expect(
          read(Buffer.from(body), cuts, 100_000).map(({ text, problem }) => [text.slice(0, 5), problem]),
        ).toEqual([
          ['{"a":', undefined],
          ['{"x":', 'too_large'],
          ['{"c":', undefined],
        ]);
      }
    }
    expect(read(Buffer.from(`${'a'.repeat(300_000)}\n{"c":3}`), [150_000], 100_000)).toMatchObject([
      { problem: 'too_large' },
      { text: '{"c":3}' },
    ]);
  });

  it('refuses nesting that would exhaust a parser', () => {
    const deep = `${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`;
    expect(read(Buffer.from(`${deep}\n{"c":3}\n`)).map(({ problem }) => problem)).toEqual([
      'too_deep',
      undefined,
    ]);
  });
});
