import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { figuresIn, withFigures } from '../../bench/figures.js';

const DOCUMENT = readFileSync('docs/performance.md', 'utf8');
const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };

describe('figures of docs/performance.md', () => {
  it('are made by commands that there are, each under a name of its own', () => {
    const figures = figuresIn(DOCUMENT);
    const names = figures.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(['lean', 'full', 'growth', 'questions-50m', 'rivals-1m']));
    expect(new Set(names).size).toBe(names.length);
    for (const { command } of figures)
      expect(Object.keys(scripts)).toContain(/npm run -s (bench:\S+)/.exec(command)?.[1]);
  });

  it('are replaced in their block alone', () => {
    for (const { name } of figuresIn(DOCUMENT)) {
      const replaced = withFigures(DOCUMENT, name, 'other figures: $& $1');
      expect(replaced.split('other figures: $& $1')).toHaveLength(2);
      expect(figuresIn(replaced)).toEqual(figuresIn(DOCUMENT));
    }
  });

  it('are not written where a block has no end', () => {
    const document = '<!-- figures one: a -->\n\n<!-- figures two: b -->\n\n<!-- end -->\n';
    expect(() => withFigures(document, 'one', '')).toThrow('one');
    expect(withFigures(document, 'two', 'x')).toContain('two: b -->\n\n```text\nx\n```\n\n<!-- end -->');
  });
});
