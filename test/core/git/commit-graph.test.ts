import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CommitGraph } from '../../../core/git/commit-graph.js';

/** Any history: each commit's parents are among those before it. */
const histories = fc
  .array(fc.array(fc.nat(), { maxLength: 3 }), { minLength: 1, maxLength: 40 })
  .map((rows) => rows.map((picks, i) => (i === 0 ? [] : [...new Set(picks.map((pick) => pick % i))])));

function graphOf(history: number[][]): CommitGraph {
  const graph = new CommitGraph();
  for (const [i, parents] of history.entries()) graph.add(String(i), parents.map(String));
  return graph;
}

/** All that a commit was made from, and itself, found the slow way. */
function closure(history: number[][], commit: number): Set<number> {
  const all = new Set([commit]);
  for (const at of all) for (const parent of history[at]!) all.add(parent);
  return all;
}

describe('CommitGraph', () => {
  it('tells the best common ancestors as their definition does', () => {
    fc.assert(
      fc.property(histories, fc.nat(), fc.nat(), (history, x, y) => {
        const [a, b] = [x % history.length, y % history.length];
        const others = closure(history, b);
        const common = [...closure(history, a)].filter((commit) => others.has(commit));
        const best = common.filter(
          (commit) => !common.some((other) => other !== commit && closure(history, other).has(commit)),
        );
        const found = graphOf(history).mergeBases(String(a), String(b))!;
        expect([...found].sort()).toEqual(best.map(String).sort());
      }),
      { numRuns: 500 },
    );
    const cut = new CommitGraph();
    cut.add('a', ['unknown']);
    cut.add('b', ['unknown']);
    expect(cut.mergeBases('a', 'b')).toBeUndefined();
    expect(cut.mergeBases('a', 'missing')).toBeUndefined();
  });

  it('tells ancestors and ranges as their definitions do', () => {
    fc.assert(
      fc.property(histories, fc.nat(), fc.nat(), (history, a, b) => {
        const [from, to] = [a % history.length, b % history.length];
        const graph = graphOf(history);
        expect(graph.isAncestor(String(from), String(to))).toBe(closure(history, to).has(from));
        const without = closure(history, from);
        const expected = [...closure(history, to)].filter((commit) => !without.has(commit)).map(String);
        const range = graph.range(String(from), String(to))!;
        expect([...range].sort()).toEqual(expected.sort());
        // Children before what they were made from.
        for (const [i, sha] of range.entries())
          for (const parent of history[Number(sha)]!) expect(range.slice(0, i)).not.toContain(String(parent));
      }),
      { numRuns: 300 },
    );
  });

  it('knows no range that leaves what it has', () => {
    const graph = new CommitGraph();
    graph.add('b', ['a']);
    graph.add('c', ['b']);
    graph.add('d', ['x']);
    expect(graph.range('b', 'c')).toEqual(['c']);
    expect(graph.range('b', 'd')).toBeUndefined();
    expect(graph.range('nobody', 'c')).toBeUndefined();
    expect(graph.isAncestor('nobody', 'c')).toBe(false);
  });
});
