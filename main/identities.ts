import { readFileSync } from 'node:fs';
import { readIdentities } from '../cli/identities-file.js';
import { WhochangedError } from '../core/errors.js';
import { Identities } from '../core/identity-map/identities.js';

/**
 * The mapping that WHOCHANGED_IDENTITIES_FILE names; without one nobody is known by more than one name.
 * @throws WhochangedError `invalid_request` with every problem and its line
 */
export function loadIdentities(file: string | undefined): Identities {
  if (file === undefined) return new Identities([]);
  const { entries, problems } = readIdentities(readFileSync(file, 'utf8'));
  if (problems.length === 0) return new Identities(entries);
  throw new WhochangedError(
    'invalid_request',
    `WHOCHANGED_IDENTITIES_FILE: ${file} can't be used:\n  ${problems.join('\n  ')}`,
    { hint: `whochanged identities check ${file}` },
  );
}
