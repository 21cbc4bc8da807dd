import { builtInController, serviceAccountOf } from '../actors.js';
import type { Commit, Person } from '../approval/facts.js';
import { accountOf, personOfAccount } from '../approval/same-person.js';
import type { UserInfo } from '../audit-event.js';
import type { Policy } from '../verdict/policy.js';
import { actorOf } from '../verdict/policy-match.js';
import type { Identities } from './identities.js';

/**
 * As what somebody stands behind a change, from the request back to its origin.
 *
 * - `user`: whom the apiserver authenticated; who impersonates somebody is this one
 * - `impersonated`: as whom that user acted
 * - `content_author`, `trigger`: who made the change that a controller carries out, and who set it off
 * - `sync_initiator`: whom a GitOps controller or a pipeline names as having asked
 * - `commit_author`, `co_author`, `committer`, `approver`: of the commits that the change came from
 */
export const CHAIN_ROLES = [
  'user',
  'impersonated',
  'content_author',
  'trigger',
  'sync_initiator',
  'commit_author',
  'co_author',
  'committer',
  'approver',
] as const;
export type ChainRole = (typeof CHAIN_ROLES)[number];

/** By what a name was found to be somebody's, in the mapping of identities. */
export const RESOLVED_BY = ['username', 'oidc_subject', 'oidc_claim', 'login', 'email'] as const;
export type ResolvedBy = (typeof RESOLVED_BY)[number];

/** One name in the chain, as the system that told it writes it. */
export interface ChainName {
  role: ChainRole;
  name: string;
  /** The controller or pipeline that the account is registered for. */
  controller?: string;
  serviceAccount?: { namespace: string; name: string };
  /** Whose name it is; undefined: nobody declared that, or two declarations contradict each other. */
  person?: { id: string; name?: string; kind: 'human' | 'bot'; by: ResolvedBy };
}

/** What is known of who was behind a change. */
export interface ChainFacts {
  cluster: string;
  user: UserInfo;
  impersonated: string | undefined;
  contentAuthor: string | undefined;
  trigger: string | undefined;
  /** A user of Argo CD, or the name of a pipeline. */
  initiator: string | undefined;
  commits: readonly Commit[];
  /** Accounts of hosts: logins, or addresses. */
  approvers: readonly string[];
}

/** Who was behind a change, each name once for each role, with the person or robot that was declared to go by it. */
export function identityChain(facts: ChainFacts, policy: Policy, identities: Identities): ChainName[] {
  const { cluster } = facts;
  const users: Array<[ChainRole, UserInfo]> = [['user', facts.user]];
  // What a client may set itself when it impersonates says nothing of who it is.
  for (const [role, username] of [
    ['impersonated', facts.impersonated],
    ['content_author', facts.contentAuthor],
    ['trigger', facts.trigger],
  ] as const)
    if (username) users.push([role, { username }]);
  const people: Array<[ChainRole, Person]> = [];
  if (facts.initiator) people.push(['sync_initiator', personOfAccount(facts.initiator)]);
  for (const { author, coAuthors, committer } of facts.commits) {
    people.push(['commit_author', author]);
    for (const coAuthor of coAuthors) people.push(['co_author', coAuthor]);
    people.push(['committer', committer]);
  }
  for (const approver of facts.approvers) people.push(['approver', personOfAccount(approver)]);
  const chain = [
    ...users.map(([role, user]) => userName(role, user, cluster, policy, identities)),
    ...people.map(([role, person]) => personName(role, person, cluster, identities)),
  ];
  const known = new Set<string>();
  const placed = CHAIN_ROLES.flatMap((role) => chain.filter((one) => one.role === role));
  return placed.filter(({ role, name }) => {
    const key = `${role} ${name}`;
    return !known.has(key) && known.add(key);
  });
}

function userName(
  role: ChainRole,
  user: UserInfo,
  cluster: string,
  policy: Policy,
  identities: Identities,
): ChainName {
  const controller = actorOf(policy, user)?.name ?? builtInController(user.username);
  const serviceAccount = serviceAccountOf(user.username);
  const person = resolved(identities, identities.resolveUser(user, cluster));
  return {
    role,
    name: user.username,
    ...(controller !== undefined && { controller }),
    ...(serviceAccount && { serviceAccount }),
    ...(person && { person }),
  };
}

function personName(role: ChainRole, person: Person, cluster: string, identities: Identities): ChainName {
  // Argo CD knows its users as an apiserver may know them.
  const byUsername =
    role === 'sync_initiator' ? identities.resolveUser({ username: accountOf(person) }, cluster) : undefined;
  const id = identities.resolvePerson(person);
  const found =
    byUsername ?? (id && { id, by: person.login === undefined ? ('email' as const) : ('login' as const) });
  const whose = resolved(identities, found || undefined);
  return {
    role,
    name: person.login === undefined && person.email !== undefined ? person.email : accountOf(person),
    ...(whose && { person: whose }),
  };
}

function resolved(
  identities: Identities,
  found: { id: string; by: ResolvedBy } | undefined,
): ChainName['person'] {
  const entry = found && identities.entry(found.id);
  if (!entry) return undefined;
  return {
    id: entry.id,
    kind: entry.kind,
    by: found.by,
    ...(entry.name !== undefined && { name: entry.name }),
  };
}
