import type { Person } from '../approval/facts.js';

export type Trailer = [key: string, value: string];

const TRAILER = /^([A-Za-z0-9][A-Za-z0-9-]*)[ \t]*:[ \t]*(.*)$/;
/** Lines that git itself puts there, and so make a block of trailers even among other lines (trailer.c). */
const BY_GIT = /^(Signed-off-by: |\(cherry picked from commit )/;

/**
 * The trailers of a commit message, in order, by git's rule (Documentation/git-interpret-trailers): the last paragraph,
 * if it isn't the first, is a block of trailers where all its lines are, or where one is by git itself and at least a
 * quarter are. A value that goes on in indented lines is joined by spaces.
 */
export function readTrailers(message: string): Trailer[] {
  const paragraphs = message.trimEnd().split(/\n[ \t]*\n/);
  const last = paragraphs.at(-1);
  if (paragraphs.length < 2 || last === undefined) return [];
  const trailers: Trailer[] = [];
  let other = 0;
  let byGit = false;
  for (const line of last.split('\n')) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const before = trailers.at(-1);
    if (/^[ \t]/.test(line) && before) {
      before[1] = `${before[1]} ${line.trim()}`;
      continue;
    }
    byGit ||= BY_GIT.test(line);
    const match = TRAILER.exec(line);
    if (match) trailers.push([match[1]!, match[2]!.trim()]);
    else other++;
  }
  if (other === 0 || (byGit && trailers.length * 3 >= other)) return trailers;
  return [];
}

/** The people of Co-authored-by trailers, each once. What names nobody is left out. */
export function coAuthorsOf(trailers: readonly Trailer[]): Person[] {
  const people = new Map<string, Person>();
  for (const [key, value] of trailers) {
    if (key.toLowerCase() !== 'co-authored-by') continue;
    const match = /^(.*?)\s*<([^<>]*)>/.exec(value);
    const person: Person = match
      ? { ...(match[1] && { name: match[1] }), ...(match[2] && { email: match[2] }) }
      : { ...(value && { name: value }) };
    const id = (person.email ?? person.name)?.toLowerCase();
    if (id !== undefined && !people.has(id)) people.set(id, person);
  }
  return [...people.values()];
}
