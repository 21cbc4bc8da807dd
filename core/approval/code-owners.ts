import type { Person } from './facts.js';
import { personOfAccount, type SamePerson } from './same-person.js';

/** A file that says who owns what of a repository, as it was before a change came in. */
export interface CodeOwnersFile {
  path: string;
  text: string;
}

/** Some of these have to approve what a path holds. */
export interface OwnerDemand {
  /** The first of the changed paths that asks for it. */
  path: string;
  /** `@login`, `@organisation/team`, or an address. */
  owners: readonly string[];
  /** How many of them. */
  approvals: number;
}

interface Section {
  optional: boolean;
  approvals: number;
  rules: Array<{ pattern: RegExp; owners: string[] }>;
}

/** `[Documentation][2] @acme/docs`, `^[Optional]`: GitLab's sections (docs.gitlab.com/user/project/codeowners/reference). */
const SECTION = /^(\^)?\[[^\]]+\](?:\[(\d+)\])?\s*(.*)$/;

/**
 * Reads a CODEOWNERS file: patterns as in .gitignore without `!` and ranges, the last that matches counts
 * (docs.github.com, "About code owners"); in each section of GitLab's by itself. A pattern without owners frees what it
 * matches; lines that can't be read are left out, as the hosts leave them out.
 */
function sectionsOf(text: string): Section[] {
  const main: Section = { optional: false, approvals: 1, rules: [] };
  const sections = [main];
  let current = main;
  let fallback: string[] = [];
  for (const raw of text.split(/\r?\n/)) {
    const line = raw.replace(/(^|\s)#.*$/, '').trim();
    if (line === '') continue;
    const [, optional, approvals, owners] = SECTION.exec(line) ?? [];
    if (owners !== undefined) {
      current = { optional: optional !== undefined, approvals: Number(approvals ?? 1), rules: [] };
      fallback = ownersIn(owners.split(/\s+/));
      sections.push(current);
      continue;
    }
    const [pattern = '', ...names] = line.split(/(?<!\\)\s+/);
    const own = ownersIn(names);
    const expression = expressionOf(pattern.replaceAll('\\ ', ' '));
    if (expression) current.rules.push({ pattern: expression, owners: names.length === 0 ? fallback : own });
  }
  return sections;
}

function ownersIn(names: readonly string[]): string[] {
  return names.filter((name) => /^@[\w./-]+$/.test(name) || /^[^\s@]+@[^\s@]+$/.test(name));
}

function expressionOf(pattern: string): RegExp | undefined {
  if (pattern === '' || pattern.startsWith('!') || /[[\]]/.test(pattern)) return undefined;
  const folder = pattern.endsWith('/');
  const path = pattern.replace(/^\/+|\/+$/g, '');
  const anchored = pattern.startsWith('/') || path.includes('/');
  const source = path
    .split(/(\/\*\*\/|\*\*\/|\/\*\*|\*|\?)/)
    .map((part) => {
      if (part === '/**/') return '/(?:.*/)?';
      if (part === '**/') return '(?:.*/)?';
      if (part === '/**') return '/.*';
      if (part === '*') return '[^/]*';
      if (part === '?') return '[^/]';
      return part.replace(/[\\^$.|+(){}]/g, '\\$&');
    })
    .join('');
  // `docs/*` is what lies in the folder itself; any other name is that of a file, or of a folder with all below it.
  const end = folder ? '/.+' : /(^|\/)\*$/.test(path) && path !== '*' ? '' : '(?:/.+)?';
  return new RegExp(`^${anchored ? '' : '(?:.*/)?'}${source}${end}$`);
}

/** Whose approval some changed paths ask for; what nobody owns asks for none. */
export function ownerDemands(text: string, paths: readonly string[]): OwnerDemand[] {
  const demands = new Map<string, OwnerDemand>();
  for (const [i, { optional, approvals, rules }] of sectionsOf(text).entries()) {
    if (optional) continue;
    for (const path of paths) {
      const owners = rules.findLast(({ pattern }) => pattern.test(path))?.owners ?? [];
      const key = `${i} ${owners.join(' ')}`;
      if (owners.length > 0 && !demands.has(key)) demands.set(key, { path, owners, approvals });
    }
  }
  return [...demands.values()];
}

/**
 * The first demand that some approvers don't meet, and whether that is certain: membership of a team that nobody
 * declared isn't.
 * @param teams their members, by `@organisation/team` in lower case
 */
export function unmetDemand(
  demands: readonly OwnerDemand[],
  approvers: readonly Person[],
  teams: ReadonlyMap<string, readonly string[]>,
  samePerson: SamePerson,
): { demand: OwnerDemand; certain: boolean } | undefined {
  const unmet = demands.flatMap((demand) => {
    const owns = approvers.map((approver) => ownership(demand.owners, approver, teams, samePerson));
    const sure = owns.filter((one) => one === 'yes').length;
    if (sure >= demand.approvals) return [];
    const possible = sure + owns.filter((one) => one === 'unknown').length;
    return [{ demand, certain: possible < demand.approvals }];
  });
  return unmet.find(({ certain }) => certain) ?? unmet[0];
}

function ownership(
  owners: readonly string[],
  approver: Person,
  teams: ReadonlyMap<string, readonly string[]>,
  samePerson: SamePerson,
): 'yes' | 'no' | 'unknown' {
  let answer: 'no' | 'unknown' = 'no';
  for (const owner of owners) {
    const members = owner.startsWith('@') && owner.includes('/') ? teams.get(owner.toLowerCase()) : [owner];
    if (!members) answer = 'unknown';
    for (const member of members ?? []) {
      const same = samePerson(personOfAccount(member.replace(/^@/, '')), approver);
      if (same === 'yes') return 'yes';
      if (same === 'unknown') answer = 'unknown';
    }
  }
  return answer;
}
