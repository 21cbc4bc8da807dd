import { type IdentityEntry, validateIdentities } from '../core/identity-map/validate.js';
import { readYaml } from './yaml-file.js';

/** The text of a mapping of identities; every problem with its line. */
export function readIdentities(text: string): { entries: IdentityEntry[]; problems: string[] } {
  const { result, problems } = readYaml(text, (value) => {
    const { entries, problems } = validateIdentities(value);
    return { result: entries, problems };
  });
  return { entries: result ?? [], problems };
}
