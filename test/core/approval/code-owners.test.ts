import { describe, expect, it } from 'vitest';
import { ownerDemands, unmetDemand } from '../../../core/approval/code-owners.js';
import { byAccount } from '../../../core/approval/same-person.js';

const owners = (text: string, ...paths: string[]) =>
  ownerDemands(text, paths).map(({ path, owners: own, approvals }) => [path, own.join(' '), approvals]);

describe('who owns a path', () => {
  it.each<[pattern: string, owned: string[], free: string[]]>([
    ['*', ['a', 'deep/er/a.yaml'], []],
    ['*.js', ['a.js', 'deep/a.js'], ['a.jsx']],
    ['/build/', ['build/a', 'build/deep/a'], ['src/build/a', 'build']],
    ['docs/*', ['docs/a.md'], ['docs/deep/a.md', 'src/docs/a.md']],
    ['apps/', ['apps/a', 'src/apps/a/b'], ['apps']],
    ['/apps/web', ['apps/web', 'apps/web/a.yaml'], ['apps/website', 'src/apps/web']],
    ['**/logs', ['logs/a', 'deep/logs/a'], ['logsx/a']],
    ['/a/**/z.yaml', ['a/z.yaml', 'a/b/c/z.yaml'], ['z.yaml']],
    ['/charts/v?.yaml', ['charts/v1.yaml'], ['charts/v10.yaml', 'charts/v/.yaml']],
    ['web.+(a)', ['web.+(a)'], ['webXX(a)']],
  ])('%s', (pattern, owned, free) => {
    for (const path of owned) expect(owners(`${pattern} @alice`, path), path).toHaveLength(1);
    for (const path of free) expect(owners(`${pattern} @alice`, path), path).toEqual([]);
  });

  it('is told by the last line that matches, comments and broken lines aside', () => {
    const file =
      '# all\n* @acme/platform\n/web/ @alice bob@example.com # the page\n/web/free\n!/web @x\n[ab] @y\n';
    expect(owners(file, 'web/a', 'web/free', 'api')).toEqual([
      ['web/a', '@alice bob@example.com', 1],
      ['api', '@acme/platform', 1],
    ]);
  });

  it('is told by each section of GitLab’s for itself', () => {
    const file =
      '* @alice\n[Database][2] @dba1 @dba2\nsql/\n^[Docs]\n*.md @docs\n[Security]\nsql/keys @sec\n';
    expect(owners(file, 'sql/keys', 'a.md')).toEqual([
      ['sql/keys', '@alice', 1],
      ['sql/keys', '@dba1 @dba2', 2],
      ['sql/keys', '@sec', 1],
    ]);
  });
});

describe('approvals by owners', () => {
  const demand = { path: 'web/a', owners: ['@alice', '@acme/platform'], approvals: 1 };
  const unmet = (approver: string, teams: Record<string, string[]> = {}, approvals = 1) =>
    unmetDemand([{ ...demand, approvals }], [{ login: approver }], new Map(Object.entries(teams)), byAccount)
      ?.certain;

  it('count by login and by declared teams; an undeclared team leaves doubt', () => {
    expect(unmet('Alice')).toBeUndefined();
    expect(unmet('bob', { '@acme/platform': ['bob', 'carol'] })).toBeUndefined();
    expect(unmet('dave', { '@acme/platform': ['bob', 'carol'] })).toBe(true);
    expect(unmet('dave')).toBe(false);
    expect(unmet('alice', { '@acme/platform': ['bob'] }, 2)).toBe(true);
  });
});
