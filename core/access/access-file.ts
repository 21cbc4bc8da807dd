import { ROLES, type Role } from '../vocabulary.js';
import type { Grant } from './grants.js';

/** By what a rule may name people; each kind of credential is matched by kinds of its own. */
export const SUBJECT_KINDS = [
  'oidcUsers',
  'oidcGroups',
  'certificates',
  'certificateOrganizations',
  'kubernetesUsers',
  'kubernetesGroups',
] as const;
export type SubjectKind = (typeof SUBJECT_KINDS)[number];

/** What a credential proves of its bearer. */
export type Subjects = Partial<Record<SubjectKind, readonly string[]>>;

/** Whoever is one of these subjects has the grant. */
export interface AccessRule {
  to: Subjects;
  grant: Grant;
}

/** What is wrong, and where: a path of keys and places in lists. */
export interface AccessProblem {
  path: Array<string | number>;
  message: string;
}

type Report = (path: AccessProblem['path'], message: string) => void;

const TO_KEYS = [...SUBJECT_KINDS, 'serviceAccounts'];
const RULE_KEYS = ['to', 'role', 'clusters', 'namespaces'];
const MAX_NAME = 500;
const CLUSTER = /^[^,/*\s]+$/;
const NAMESPACE = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * Reads who may do what:
 *
 *     grants:
 *       - to: {oidcGroups: [platform-oncall], certificates: [grafana]}
 *         role: reader                     # over everything, where clusters and namespaces are left out
 *       - to: {oidcGroups: [team-shop], serviceAccounts: [ci/deployer]}
 *         role: reader
 *         clusters: [prod]
 *         namespaces: [shop, shop-db]
 *
 * Every problem is collected. Names are compared exactly: there are no wildcards.
 */
export function validateAccessFile(value: unknown): { rules: AccessRule[]; problems: AccessProblem[] } {
  const problems: AccessProblem[] = [];
  const rules: AccessRule[] = [];
  const report: Report = (path, message) => void problems.push({ path, message });
  const root = record(value);
  if (!root || !Array.isArray(root.grants)) {
    report([], 'expected a map with the list grants, each with to and role');
    return { rules, problems };
  }
  for (const key of Object.keys(root))
    if (key !== 'grants') report([key], 'there is no such section; there is only grants');
  for (const [i, item] of root.grants.entries()) {
    const rule = readRule(item, ['grants', i], report);
    if (rule) rules.push(rule);
  }
  return { rules, problems };
}

function readRule(value: unknown, path: AccessProblem['path'], report: Report): AccessRule | undefined {
  const rule = record(value);
  if (!rule) {
    report(path, 'expected a map with to and role, such as {to: {oidcGroups: [oncall]}, role: reader}');
    return undefined;
  }
  unknownKeys(rule, RULE_KEYS, path, report);
  const role = ROLES.find((known) => known === rule.role);
  if (!role) report([...path, 'role'], `expected one of ${ROLES.join(', ')}`);
  return {
    to: readSubjects(rule.to, [...path, 'to'], report),
    grant: {
      role: role as Role,
      clusters: readBounds(rule.clusters, CLUSTER, 'prod', [...path, 'clusters'], report),
      namespaces: readBounds(rule.namespaces, NAMESPACE, 'shop', [...path, 'namespaces'], report),
    },
  };
}

function readSubjects(value: unknown, path: AccessProblem['path'], report: Report): Subjects {
  const to = record(value);
  if (!to || Object.keys(to).length === 0) {
    report(path, `expected a map with some of ${TO_KEYS.join(', ')}`);
    return {};
  }
  unknownKeys(to, TO_KEYS, path, report);
  const subjects: Partial<Record<SubjectKind, string[]>> = {};
  for (const kind of SUBJECT_KINDS)
    if (to[kind] !== undefined) subjects[kind] = readNames(to[kind], [...path, kind], report);
  const accounts = readNames(to.serviceAccounts ?? [], [...path, 'serviceAccounts'], report).map(
    (account) => {
      const [namespace, name, more] = account.split('/');
      if (!namespace || !name || more !== undefined)
        report(
          [...path, 'serviceAccounts'],
          `${JSON.stringify(account)}: expected NAMESPACE/NAME, such as ci/deployer`,
        );
      return `system:serviceaccount:${namespace}:${name}`;
    },
  );
  if (accounts.length > 0) subjects.kubernetesUsers = [...(subjects.kubernetesUsers ?? []), ...accounts];
  return subjects;
}

function readNames(value: unknown, path: AccessProblem['path'], report: Report): string[] {
  if (!Array.isArray(value)) {
    report(path, 'expected a list of names, such as [platform-oncall]');
    return [];
  }
  return value.flatMap((name: unknown, i) => {
    if (typeof name !== 'string' || name === '' || name.length > MAX_NAME)
      report([...path, i], 'expected a text; quote what looks like a number');
    else if (name.includes('*')) report([...path, i], `${JSON.stringify(name)}: there are no wildcards here`);
    else return [name];
    return [];
  });
}

/** Left out: all. An empty list would be taken for all by some, and for none by others. */
function readBounds(
  value: unknown,
  pattern: RegExp,
  example: string,
  path: AccessProblem['path'],
  report: Report,
): string[] | null {
  if (value === undefined) return null;
  if (!Array.isArray(value) || value.length === 0) {
    report(path, `expected a list with a name or more, such as [${example}]; leave it out for all`);
    return [];
  }
  return value.flatMap((name: unknown, i) => {
    if (typeof name === 'string' && pattern.test(name)) return [name];
    report(
      [...path, i],
      `expected a name, such as ${example}; there are no wildcards, leave the list out for all`,
    );
    return [];
  });
}

function unknownKeys(
  map: Record<string, unknown>,
  known: readonly string[],
  path: AccessProblem['path'],
  report: Report,
): void {
  for (const key of Object.keys(map))
    if (!known.includes(key)) report([...path, key], `there is no such key; there are ${known.join(', ')}`);
}

function record(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

/** Every grant that somebody's subjects give: their union is what they may do. */
export function grantsOf(rules: readonly AccessRule[], subjects: Subjects): Grant[] {
  return rules
    .filter(({ to }) =>
      SUBJECT_KINDS.some((kind) => to[kind]?.some((name) => subjects[kind]?.includes(name) ?? false)),
    )
    .map(({ grant }) => grant);
}
