import type { Person } from '../../core/approval/facts.js';
import type { Identities } from '../../core/identity-map/identities.js';
import type { People } from './judge.js';

/** Who is who, by the declared mapping. */
export function peopleOf(identities: Identities): People {
  return {
    samePerson: identities.samePerson,
    ofUser: (username, cluster): Person => {
      const found = identities.resolveUser({ username }, cluster);
      const entry = found && identities.entry(found.id);
      const [email, login] = [entry?.emails[0], entry?.logins[0]?.login];
      if (email !== undefined) return { email };
      if (login !== undefined) return { login };
      return username.includes('@') ? { email: username } : { name: username };
    },
  };
}
