import { describe, expect, it } from 'vitest';
import { readIdentities } from '../../cli/identities-file.js';
import { Identities, noreplyLogin } from '../../core/identity-map/identities.js';

const FILE = `
people:
  alice:
    name: Alice Adams
    emails: [alice@example.com, Alice@personal.example]
    logins: {github.com: alice, gitlab.example.com: [aa, alice.admin]}
    usernames: [alice@example.com]
    subjects: [{issuer: https://login.example.com, subject: 00u1}]
  bob:
    logins: {github.com: bob, gitlab.example.com: alice}
    usernames: {prod: [bob], dev: [admin]}
robots:
  deployer:
    serviceAccounts: {prod: [ci/deployer]}
    logins: {github.com: 'renovate[bot]'}
`;

function identities(text = FILE): Identities {
  const { entries, problems } = readIdentities(text);
  expect(problems).toEqual([]);
  return new Identities(entries);
}

describe('Identities', () => {
  it('resolves what was declared, and nothing that is merely alike', () => {
    const known = identities();
    expect(known.resolvePerson({ email: 'ALICE@example.com' })).toBe('alice');
    expect(known.resolvePerson({ login: 'Bob' }, 'github.com')).toBe('bob');
    expect(known.resolvePerson({ name: 'Alice Adams' })).toBeUndefined();
    expect(known.resolvePerson({ email: 'alice@example.org' })).toBeUndefined();
    expect(known.resolvePerson({ login: 'alice-adams' }, 'github.com')).toBeUndefined();
    expect(known.resolvePerson({})).toBeUndefined();
    expect(known.entry('deployer')).toMatchObject({ kind: 'bot' });
  });

  it('takes a login for nobody where two have it and the host is not said', () => {
    const known = identities();
    expect(known.resolvePerson({ login: 'alice' })).toBeUndefined();
    expect(known.resolvePerson({ login: 'alice' }, 'github.com')).toBe('alice');
    expect(known.resolvePerson({ login: 'alice' }, 'gitlab.example.com')).toBe('bob');
    expect(known.resolvePerson({ login: 'aa' })).toBe('alice');
  });

  it('takes a login of one and an address of another for nobody', () => {
    const known = identities();
    expect(known.resolvePerson({ login: 'bob', email: 'alice@example.com' }, 'github.com')).toBeUndefined();
  });

  it("resolves GitHub's private addresses by the login in them", () => {
    const known = identities();
    expect(known.resolvePerson({ email: '1234+Bob@users.noreply.github.com' })).toBe('bob');
    expect(known.resolvePerson({ email: 'bob@users.noreply.github.com' })).toBe('bob');
    expect(noreplyLogin('49699333+dependabot[bot]@users.noreply.github.com')).toBe('dependabot[bot]');
    expect(noreplyLogin('bob@users.noreply.github.com.evil.example')).toBeUndefined();
  });

  it('resolves users and service accounts by cluster, and OIDC subjects by issuer', () => {
    const known = identities();
    expect(known.resolveUsername('alice@example.com', 'anywhere')).toBe('alice');
    expect(known.resolveUsername('admin', 'dev')).toBe('bob');
    expect(known.resolveUsername('admin', 'prod')).toBeUndefined();
    expect(known.resolveUsername('system:serviceaccount:ci:deployer', 'prod')).toBe('deployer');
    expect(known.resolveUsername('system:serviceaccount:ci:deployer', 'dev')).toBeUndefined();
    expect(known.resolveSubject('https://login.example.com', '00u1')).toBe('alice');
    expect(known.resolveSubject('https://other.example.com', '00u1')).toBeUndefined();
  });

  it('resolves authenticated users by whatever was verified of them, and none by what contradicts itself', () => {
    const known = identities();
    const of = (username: string, extra?: Record<string, string[]>) =>
      known.resolveUser({ username, ...(extra && { extra }) }, 'prod');
    expect(of('alice@example.com')).toEqual({ id: 'alice', by: 'username' });
    expect(of('https://login.example.com#00u1')).toEqual({ id: 'alice', by: 'oidc_subject' });
    expect(of('https://other.example.com#00u1')).toBeUndefined();
    expect(of('u-17', { 'example.com/email': ['Alice@example.com'] })).toEqual({
      id: 'alice',
      by: 'oidc_claim',
    });
    expect(of('u-17', { 'example.com/email': ['alice@example.com', 'bob@example.com'] })).toBeUndefined();
    expect(of('u-17', { 'example.com/not-email': ['alice@example.com'] })).toBeUndefined();
    expect(of('bob', { email: ['alice@example.com'] })).toBeUndefined();
  });

  it('says of two accounts that they are one person, two, or that it is not known', () => {
    const { samePerson } = identities();
    expect(samePerson({ login: 'aa' }, { email: 'alice@example.com' })).toBe('yes');
    expect(samePerson({ login: 'bob' }, { email: 'alice@example.com' })).toBe('no');
    expect(samePerson({ login: 'carol' }, { email: 'carol@example.com' })).toBe('unknown');
    expect(samePerson({ login: 'carol' }, { email: '77+carol@users.noreply.github.com' })).toBe('yes');
    expect(samePerson({ login: 'carol' }, { login: 'dave' })).toBe('no');
  });

  it('has a digest that changes with what it says', () => {
    expect(identities().sha256).toBe(identities(`# a comment\n${FILE}`).sha256);
    expect(identities().sha256).not.toBe(identities(FILE.replace('00u1', '00u2')).sha256);
  });
});

describe('a mapping that is wrong', () => {
  it.each([
    ['- alice', /^line 1: expected a map with people, robots or both$/],
    [
      'people: {alice: {emails: [nobody]}}',
      /^line 1: people\.alice\.emails\[0\]: "nobody" is no e-mail address$/,
    ],
    ['persons: {}', /persons: there is no such section/],
    ['people:\n  Alice: {}', /^line 2: people\.Alice: expected an id of lower-case/],
    [
      'people:\n  alice:\n    email: a@b.c',
      /^line 3: people\.alice\.email: there is no such key; there are name, emails/,
    ],
    ['people:\n  alice: {logins: [alice]}', /logins: expected a map from host to login/],
    ['people:\n  alice: {usernames: [7]}', /usernames\[0\]: expected a text/],
    ['robots:\n  ci: {serviceAccounts: [ci]}', /serviceAccounts: "ci": expected NAMESPACE\/NAME/],
    ['people:\n  a: {subjects: [{issuer: x}]}', /subjects\[0\]: expected \{issuer: URL/],
    [
      'people:\n  a: {emails: [x@y.z]}\n  b: {emails: [X@y.z]}',
      /^line 3: people\.b: the address X@y\.z is a's already$/,
    ],
    ['people:\n  a: {}\nrobots:\n  a: {}', /the id is of a person and of a robot/],
    ['people: {a: [', /^line \d+: it is not YAML/],
  ])('%j says what and where', (text, problem) => {
    const { problems } = readIdentities(text);
    expect(problems[0]).toMatch(problem);
  });
});
