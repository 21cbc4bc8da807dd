/**
 * Parses JSON into values that Postgres text can hold: NUL and lone surrogates, which come only through \u escapes,
 * become U+FFFD.
 *
 * @throws SyntaxError
 */
export function parseJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  return text.includes('\\u0000') || text.includes('\\ud') || text.includes('\\uD')
    ? wellFormed(value)
    : value;
}

/** Whether a value has objects or lists within one another more often than `levels`. */
export function isNestedDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (levels === 0) return true;
  for (const member of Array.isArray(value) ? value : Object.values(value))
    if (isNestedDeeper(member, levels - 1)) return true;
  return false;
}

function wellFormed(value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll('\0', '\uFFFD').toWellFormed();
  if (Array.isArray(value)) return value.map(wellFormed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [wellFormed(key), wellFormed(item)]));
}
