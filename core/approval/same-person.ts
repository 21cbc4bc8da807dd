import type { Person } from './facts.js';

/** Whether two accounts belong to one person. `unknown` is an answer: it must never be taken for either of the others. */
export type Sameness = 'yes' | 'no' | 'unknown';

/** Tells accounts apart, from what identities were declared or claimed. */
export type SamePerson = (a: Person, b: Person) => Sameness;

/**
 * What the accounts themselves say: one login, or one e-mail address, is one person; two logins of one host are two.
 * An address and a login, or two addresses, may be one person's: without a mapping that stays unknown.
 */
export const byAccount: SamePerson = (a, b) => {
  const [loginA, loginB] = [a.login?.toLowerCase(), b.login?.toLowerCase()];
  if (loginA !== undefined && loginA === loginB) return 'yes';
  const [emailA, emailB] = [a.email?.toLowerCase(), b.email?.toLowerCase()];
  if (emailA !== undefined && emailA === emailB) return 'yes';
  if (loginA !== undefined && loginB !== undefined) return 'no';
  return 'unknown';
};

/** Who goes by an account that is told as one text: with @ an address, else a login. */
export function personOfAccount(account: string): Person {
  return account.includes('@') ? { email: account } : { login: account };
}

/** A person's account as verdicts name it. */
export function accountOf(person: Person): string {
  return person.login ?? person.email ?? person.name ?? 'somebody unnamed';
}
