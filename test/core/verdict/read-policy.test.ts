import { expect, it } from 'vitest';
import { DEFAULT_POLICY, versionOfPolicy } from '../../../core/verdict/policy.js';
import { environmentOf, inChangeWindow } from '../../../core/verdict/policy-match.js';
import { formatPolicyPath } from '../../../core/verdict/policy-shape.js';
import { readPolicy } from '../../../core/verdict/read-policy.js';

const problemsOf = (document: unknown) => {
  const read = readPolicy(document);
  return 'problems' in read
    ? read.problems.map((item) => `${formatPolicyPath(item.path)} ${item.problem}`)
    : [];
};

it('takes the built-in policy for what a policy leaves out', () => {
  const read = readPolicy({ name: 'mine' });
  expect(read).toEqual({ policy: { ...DEFAULT_POLICY, name: 'mine' } });
});

it('gives equal policies one version, and others another', () => {
  const version = (document: unknown) => {
    const read = readPolicy(document);
    if ('problems' in read) throw new Error(JSON.stringify(read.problems));
    return versionOfPolicy(read.policy).version;
  };
  const mine = version({ name: 'mine', environments: [{ name: 'prod', clusters: ['prod'], approvals: 2 }] });
  expect(version({ environments: [{ approvals: 2, clusters: ['prod'], name: 'prod' }], name: 'mine' })).toBe(
    mine,
  );
  expect(mine).toMatch(/^mine@[0-9a-f]{12}$/);
  expect(
    version({ name: 'mine', environments: [{ name: 'prod', clusters: ['prod'], approvals: 1 }] }),
  ).not.toBe(mine);
});

it.each<[string, unknown, string[]]>([
  ['no map', 'x', [' is a string', 'name is missing']],
  ['no name', {}, ['name is missing']],
  ['a misspelled key', { name: 'a', enviroments: [] }, ['enviroments is unknown here']],
  ['a number too large', { name: 'a', default: { approvals: 99 } }, ['default.approvals is "99"']],
  ['a wrong word', { name: 'a', default: { permission: 'owner' } }, ['default.permission is "owner"']],
  [
    'everybody as an actor',
    { name: 'a', actors: [{ name: 'x', kind: 'ci', users: ['*'] }] },
    ['actors[0].users matches everybody'],
  ],
  [
    'a robot without a reason',
    { name: 'a', robots: [{ name: 'r', accounts: ['r'], repositories: ['s'], may: 'approve' }] },
    ['robots[0].reason is missing'],
  ],
  [
    'a session that tells nothing',
    { name: 'a', actors: [{ name: 'x', kind: 'ci', users: ['u'], session: { extra: 'e', pattern: 'x' } }] },
    ["actors[0].session.pattern can't be used: it names neither sha nor run"],
  ],
  [
    'a team without its organisation',
    { name: 'a', teams: { platform: ['alice'] } },
    ['teams.platform is no team'],
  ],
  [
    'a window that never opens',
    { name: 'a', default: { changeWindows: [{ from: '10:00', until: '09:00' }] } },
    ['default.changeWindows[0].until is not after from'],
  ],
])('says what is wrong with %s', (_what, document, problems) => {
  expect(problemsOf(document)).toEqual(problems);
});

it('takes the first environment whose selectors all hold', () => {
  const read = readPolicy({
    name: 'a',
    environments: [
      { name: 'payments', clusters: ['prod-*'], namespaces: ['pay'], labels: { tier: 'critical' } },
      { name: 'production', clusters: ['prod-*'] },
    ],
  });
  if ('problems' in read) throw new Error(JSON.stringify(read.problems));
  const named = (cluster: string, namespace: string, labels: string[]) =>
    environmentOf(read.policy, {
      cluster,
      labels,
      key: { apiGroup: '', resource: 'pods', namespace, name: 'x' },
    }).name;
  expect(named('prod-eu', 'pay', ['tier=critical'])).toBe('payments');
  expect(named('prod-eu', 'pay', [])).toBe('production');
  expect(named('stage', 'pay', ['tier=critical'])).toBe('default');
});

it('reads change windows in UTC, half-open', () => {
  const read = readPolicy({
    name: 'a',
    default: { changeWindows: [{ days: ['mon'], from: '08:00', until: '18:00' }] },
  });
  if ('problems' in read) throw new Error(JSON.stringify(read.problems));
  const at = (text: string) => inChangeWindow(read.policy.fallback, Date.parse(text) * 1000);
  expect(at('2026-03-02T08:00:00Z')).toBe(true);
  expect(at('2026-03-02T18:00:00Z')).toBe(false);
  expect(at('2026-03-03T09:00:00Z')).toBe(false);
});
