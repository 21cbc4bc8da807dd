/** Columns of the ledger that hold what a rule's field reads. */
export const COLUMNS = [
  'verb',
  'apiGroup',
  'resource',
  'subresource',
  'namespace',
  'name',
  'username',
  'class',
  'kind',
  'tool',
  'verdict',
  'reason',
  'environment',
] as const;
export type Column = (typeof COLUMNS)[number];

/**
 * What must hold of a row wherever a rule matches it, so that SQL leaves the others out; rows may meet it and not match.
 * Texts are compared without regard to case: `exact` are lower-case texts, `like` patterns of SQL's ilike.
 */
export type Needs =
  | { kind: 'everything' }
  | { kind: 'all' | 'any'; of: readonly Needs[] }
  | { kind: 'column'; column: Column; exact: readonly string[]; like: readonly string[] };

export const EVERYTHING: Needs = { kind: 'everything' };

/** Both of what several need: what needs nothing adds nothing. */
export function allNeeded(of: readonly Needs[]): Needs {
  const told = of.filter((one) => one.kind !== 'everything');
  if (told.length === 0) return EVERYTHING;
  return told.length === 1 ? told[0]! : { kind: 'all', of: told };
}

/** One of what several need: where one needs nothing, all rows may do. None of none: no row does. */
export function anyNeeded(of: readonly Needs[]): Needs {
  if (of.some((one) => one.kind === 'everything')) return EVERYTHING;
  return of.length === 1 ? of[0]! : { kind: 'any', of };
}

/** Needs of a column to hold one of these texts; a text with wildcards is given as a pattern. */
export function columnNeeds(
  column: Column | undefined,
  texts: ReadonlyArray<{ exact: string } | { like: string }>,
): Needs {
  if (column === undefined || texts.length === 0) return EVERYTHING;
  const exact = texts.flatMap((one) => ('exact' in one ? [one.exact.toLowerCase()] : []));
  const like = texts.flatMap((one) => ('like' in one ? [one.like] : []));
  // What isn't there is no row's empty text.
  return exact.includes('') ? EVERYTHING : { kind: 'column', column, exact, like };
}
