import type { Person } from '../approval/facts.js';
import { byAccount, type SamePerson } from '../approval/same-person.js';
import type { UserInfo } from '../audit-event.js';
import { canonicalJson, sha256 } from '../canonical.js';
import type { IdentityEntry } from './validate.js';

/** GitHub's private addresses: `ID+login@`, or `login@` for accounts of before July 2017. */
const NOREPLY = /^(?:\d+\+)?([a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\[bot\])?)@users\.noreply\.github\.com$/i;
const GITHUB = 'github.com';

/** The GitHub login that a private address of GitHub's stands for. */
export function noreplyLogin(email: string | undefined): string | undefined {
  return NOREPLY.exec(email ?? '')?.[1];
}

/**
 * Who is who, by what was declared. Names are compared as hosts and mail do: logins and addresses without case,
 * usernames of clusters and OIDC subjects exactly. What isn't declared stays unresolved; names that are merely alike say
 * nothing.
 */
export class Identities {
  /** Of the whole mapping: what verdicts record. */
  readonly sha256: string;
  readonly entries: readonly IdentityEntry[];
  readonly #byID = new Map<string, IdentityEntry>();
  readonly #emails = new Map<string, string>();
  readonly #logins = new Map<string, string>();
  /** Undefined: two entries have it, on two hosts. */
  readonly #anyHost = new Map<string, string | undefined>();
  readonly #usernames = new Map<string, string>();
  readonly #subjects = new Map<string, string>();

  /** @param entries without problems, from validateIdentities */
  constructor(entries: readonly IdentityEntry[]) {
    this.entries = entries;
    this.sha256 = sha256(canonicalJson(entries)).toString('hex');
    for (const entry of entries) {
      this.#byID.set(entry.id, entry);
      for (const email of entry.emails) this.#emails.set(email.toLowerCase(), entry.id);
      for (const { host, login } of entry.logins) {
        const name = login.toLowerCase();
        this.#logins.set(`${host} ${name}`, entry.id);
        const other = this.#anyHost.has(name) && this.#anyHost.get(name) !== entry.id;
        this.#anyHost.set(name, other ? undefined : entry.id);
      }
      for (const { cluster, username } of entry.usernames)
        this.#usernames.set(`${cluster ?? ''} ${username}`, entry.id);
      for (const { issuer, subject } of entry.subjects) this.#subjects.set(`${issuer} ${subject}`, entry.id);
    }
  }

  entry(id: string): IdentityEntry | undefined {
    return this.#byID.get(id);
  }

  /**
   * Whose a commit, review or ticket is. `host`: where the login is known; without it a login that two have, on two
   * hosts, resolves to neither. A login and an address of two different entries contradict each other: unresolved.
   */
  resolvePerson(person: Person, host?: string): string | undefined {
    const found = new Set<string>();
    const byLogin = person.login === undefined ? undefined : this.#login(person.login, host);
    if (byLogin !== undefined) found.add(byLogin);
    const noreply = noreplyLogin(person.email);
    const byEmail =
      person.email === undefined
        ? undefined
        : (this.#emails.get(person.email.toLowerCase()) ??
          (noreply === undefined ? undefined : this.#login(noreply, GITHUB)));
    if (byEmail !== undefined) found.add(byEmail);
    return found.size === 1 ? [...found][0] : undefined;
  }

  /** Whose a user of a cluster is, service accounts included. The cluster's own entry wins over one for all. */
  resolveUsername(username: string, cluster: string): string | undefined {
    return this.#usernames.get(`${cluster} ${username}`) ?? this.#usernames.get(` ${username}`);
  }

  /**
   * Whose an authenticated user is: by username; by an OIDC username, which an apiserver writes `ISSUER#SUBJECT` where
   * nothing else is configured; by an address that it copied from a verified token (claimMappings.extra). Names that
   * belong to two contradict each other: unresolved.
   */
  resolveUser(
    { username, extra }: Pick<UserInfo, 'username' | 'extra'>,
    cluster: string,
  ): { id: string; by: 'username' | 'oidc_subject' | 'oidc_claim' } | undefined {
    const [, issuer, subject] = /^(https:\/\/[^#]+)#(.+)$/.exec(username) ?? [];
    const emails = Object.entries(extra ?? {}).flatMap(([key, values]) =>
      /(^|\/)email$/i.test(key) && values.length === 1 ? values : [],
    );
    const found = [
      { id: this.resolveUsername(username, cluster), by: 'username' as const },
      { id: issuer && this.resolveSubject(issuer, subject!), by: 'oidc_subject' as const },
      ...emails.map((email) => ({ id: this.resolvePerson({ email }), by: 'oidc_claim' as const })),
    ].flatMap(({ id, by }) => (id ? [{ id, by }] : []));
    return new Set(found.map(({ id }) => id)).size === 1 ? found[0] : undefined;
  }

  resolveSubject(issuer: string, subject: string): string | undefined {
    return this.#subjects.get(`${issuer} ${subject}`);
  }

  /** Whether two accounts are one person's: by the mapping where it knows both, else by the accounts themselves. */
  readonly samePerson: SamePerson = (a, b) => {
    const [idA, idB] = [this.resolvePerson(a), this.resolvePerson(b)];
    if (idA !== undefined && idB !== undefined) return idA === idB ? 'yes' : 'no';
    return byAccount(withLogin(a), withLogin(b));
  };

  #login(login: string, host: string | undefined): string | undefined {
    const name = login.toLowerCase();
    return host === undefined ? this.#anyHost.get(name) : this.#logins.get(`${host.toLowerCase()} ${name}`);
  }
}

/** A private address of GitHub's names its login. */
function withLogin(person: Person): Person {
  const login = person.login ?? noreplyLogin(person.email);
  return login === undefined ? person : { ...person, login };
}
