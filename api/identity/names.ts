// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\u0000-\u001f\u007f]/;
const MAX_NAME = 500;
const MAX_GROUPS = 2000;

/** Whether a foreign text can stand as a name in records and lists: not empty, not endless, nothing that hides. */
export function isName(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value !== '' &&
    value.length <= MAX_NAME &&
    !CONTROL.test(value) &&
    // A lone surrogate can't be stored as it is.
    !/\p{Surrogate}/u.test(value)
  );
}

/** The names in a claim that holds one or several. */
export function namesOf(value: unknown): string[] {
  const list: unknown[] = Array.isArray(value) ? value : value === undefined ? [] : [value];
  return list.filter(isName).slice(0, MAX_GROUPS);
}
