import { type Caller as Granted, includesRole, unboundedRole } from '../../core/access/grants.ts';
import type { Role } from '../../core/vocabulary.ts';
import { get } from './api.ts';
import { Asked } from './asked.svelte.ts';

/** Who the token belongs to, so that the page asks and offers only what they may see and do. */
class Caller {
  readonly #asked = new Asked<Pick<Granted, 'name' | 'grants'>>();

  /** To be called once for each token. */
  ask(): void {
    void this.#asked.ask((signal) => get<Pick<Granted, 'name' | 'grants'>>('/v1/whoami', {}, signal));
  }

  /** Whether they have a role over all of the ledger; undefined until that is known. */
  may(role: Role): boolean | undefined {
    const grants = this.#asked.answer?.grants;
    return grants && includesRole(unboundedRole(grants), role);
  }
}

export const caller = new Caller();
