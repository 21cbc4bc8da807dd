/** One person or robot, and every name that it goes by. */
export interface IdentityEntry {
  id: string;
  kind: 'human' | 'bot';
  name?: string;
  emails: string[];
  /** Accounts on hosts; `host` as in the URL of its repositories, such as github.com. */
  logins: Array<{ host: string; login: string }>;
  /** As apiservers know it; undefined cluster: in all of them. */
  usernames: Array<{ cluster?: string; username: string }>;
  subjects: Array<{ issuer: string; subject: string }>;
}

/** What is wrong, and where: a path of keys and places in lists. */
export interface IdentityProblem {
  path: Array<string | number>;
  message: string;
}

const ID = /^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$/;
const EMAIL = /^[^\s@<>]+@[^\s@<>]+$/;
const KEYS = ['name', 'emails', 'logins', 'usernames', 'subjects', 'serviceAccounts'];
const ALL_CLUSTERS = '*';

/**
 * Reads a mapping of identities:
 *
 *     people:
 *       alice:
 *         name: Alice Adams
 *         emails: [alice@example.com]
 *         logins: {github.com: alice, gitlab.example.com: [alice, alice.admin]}
 *         usernames: [alice@example.com]            # in every cluster; or {prod: [alice], dev: [al]}
 *         subjects: [{issuer: https://login.example.com, subject: 00u1}]
 *     robots:
 *       deployer: {serviceAccounts: [ci/deployer]}  # or {prod: [ci/deployer]}
 *
 * Every problem is collected. A name that two of them claim is one: whose it is can't be known then.
 */
export function validateIdentities(value: unknown): {
  entries: IdentityEntry[];
  problems: IdentityProblem[];
} {
  const problems: IdentityProblem[] = [];
  const entries: IdentityEntry[] = [];
  const report = (path: IdentityProblem['path'], message: string) => void problems.push({ path, message });
  const root = record(value);
  if (!root) {
    report([], 'expected a map with people, robots or both');
    return { entries, problems };
  }
  for (const key of Object.keys(root))
    if (key !== 'people' && key !== 'robots')
      report([key], 'there is no such section; there are people and robots');
  for (const [section, kind] of [
    ['people', 'human'],
    ['robots', 'bot'],
  ] as const) {
    if (root[section] === undefined) continue;
    const list = record(root[section]);
    if (!list) {
      report([section], 'expected a map from an id to its names');
      continue;
    }
    for (const [id, names] of Object.entries(list)) {
      const path = [section, id];
      if (!ID.test(id)) report(path, 'expected an id of lower-case letters, digits, and - . _ between them');
      const entry = readEntry(id, kind, names, path, report);
      if (entry) entries.push(entry);
    }
  }
  findDoubles(entries, report);
  return { entries, problems };
}

type Report = (path: IdentityProblem['path'], message: string) => void;

function readEntry(
  id: string,
  kind: IdentityEntry['kind'],
  value: unknown,
  path: IdentityProblem['path'],
  report: Report,
): IdentityEntry | undefined {
  const names = record(value);
  if (!names) {
    report(path, `expected a map with some of ${KEYS.join(', ')}`);
    return undefined;
  }
  for (const key of Object.keys(names))
    if (!KEYS.includes(key)) report([...path, key], `there is no such key; there are ${KEYS.join(', ')}`);
  if (names.name !== undefined && typeof names.name !== 'string')
    report([...path, 'name'], 'expected a text');
  const entry: IdentityEntry = {
    id,
    kind,
    ...(typeof names.name === 'string' && { name: names.name }),
    emails: texts(names.emails, [...path, 'emails'], report).filter((email, i) => {
      if (EMAIL.test(email)) return true;
      report([...path, 'emails', i], `${JSON.stringify(email)} is no e-mail address`);
      return false;
    }),
    logins: scoped(names.logins, [...path, 'logins'], report, false).map(({ scope, text }) => ({
      host: scope!.toLowerCase(),
      login: text,
    })),
    usernames: [
      ...scoped(names.usernames, [...path, 'usernames'], report, true),
      ...scoped(names.serviceAccounts, [...path, 'serviceAccounts'], report, true).flatMap(
        ({ scope, text }) => {
          const [namespace, name, more] = text.split('/');
          if (namespace && name && more === undefined)
            return [{ scope, text: `system:serviceaccount:${namespace}:${name}` }];
          report([...path, 'serviceAccounts'], `${JSON.stringify(text)}: expected NAMESPACE/NAME`);
          return [];
        },
      ),
    ].map(({ scope, text }) => ({ ...(scope !== undefined && { cluster: scope }), username: text })),
    subjects: readSubjects(names.subjects, [...path, 'subjects'], report),
  };
  return entry;
}

function readSubjects(
  value: unknown,
  path: IdentityProblem['path'],
  report: Report,
): IdentityEntry['subjects'] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) {
    report(path, 'expected a list of {issuer, subject}');
    return [];
  }
  return value.flatMap((item: unknown, i) => {
    const { issuer, subject } = record(item) ?? {};
    if (typeof issuer === 'string' && issuer !== '' && typeof subject === 'string' && subject !== '')
      return [{ issuer, subject }];
    report([...path, i], 'expected {issuer: URL, subject: the sub claim}');
    return [];
  });
}

function record(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

/** A text, or a list of texts. */
function texts(value: unknown, path: IdentityProblem['path'], report: Report): string[] {
  if (value === undefined) return [];
  const list: unknown[] = Array.isArray(value) ? value : [value];
  return list.flatMap((item, i) => {
    if (typeof item === 'string' && item !== '' && item.length <= 500) return [item];
    report(
      Array.isArray(value) ? [...path, i] : path,
      'expected a text, such as alice; quote what looks like a number',
    );
    return [];
  });
}

/** Texts by host or cluster; where `anywhere`, a plain list means all of them. */
function scoped(
  value: unknown,
  path: IdentityProblem['path'],
  report: Report,
  anywhere: boolean,
): Array<{ scope?: string; text: string }> {
  if (value === undefined) return [];
  const map = record(value);
  if (map)
    return Object.entries(map).flatMap(([scope, names]) =>
      texts(names, [...path, scope], report).map((text) =>
        anywhere && scope === ALL_CLUSTERS ? { text } : { scope, text },
      ),
    );
  if (anywhere) return texts(value, path, report).map((text) => ({ text }));
  report(path, 'expected a map from host to login, such as {github.com: alice}');
  return [];
}

/** The names of an entry as keys, with where each stands. */
function keysOf(entry: IdentityEntry): Array<[key: string, shown: string]> {
  return [
    ...entry.emails.map((email): [string, string] => [
      `email ${email.toLowerCase()}`,
      `the address ${email}`,
    ]),
    ...entry.logins.map(({ host, login }): [string, string] => [
      `login ${host} ${login.toLowerCase()}`,
      `the login ${login} on ${host}`,
    ]),
    ...entry.usernames.map(({ cluster, username }): [string, string] => [
      `username ${cluster ?? ALL_CLUSTERS} ${username}`,
      `the user ${username}${cluster === undefined ? '' : ` in ${cluster}`}`,
    ]),
    ...entry.subjects.map(({ issuer, subject }): [string, string] => [
      `subject ${issuer} ${subject}`,
      `the subject ${subject} of ${issuer}`,
    ]),
  ];
}

function findDoubles(entries: readonly IdentityEntry[], report: Report): void {
  const owners = new Map<string, IdentityEntry>();
  const ids = new Set<string>();
  for (const entry of entries) {
    const path = [entry.kind === 'human' ? 'people' : 'robots', entry.id];
    if (ids.has(entry.id)) report(path, 'the id is of a person and of a robot');
    ids.add(entry.id);
    for (const [key, shown] of keysOf(entry)) {
      const owner = owners.get(key);
      if (owner && owner !== entry) report(path, `${shown} is ${owner.id}'s already`);
      owners.set(key, entry);
    }
  }
}
