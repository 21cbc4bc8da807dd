/**
 * Members of bodies that name what is changed, and into what. None holds a credential: URLs, keys and tokens are left out,
 * and so is what may be long.
 */
const NAMING = new Set([
  'name',
  'role',
  'clusters',
  'namespaces',
  'expiresAt',
  'cluster',
  'namespace',
  'apiGroup',
  'resource',
  'username',
  'since',
  'until',
  'reason',
  'source',
  'sources',
  'environment',
  'event',
  'change',
  'parts',
  'kind',
]);
const MAX_TEXT = 300;
const MAX_LIST = 50;

/** What a request's body asks to be changed, as far as an access event tells of it; null where it names nothing. */
export function askedOf(body: unknown): Record<string, unknown> | null {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return null;
  const asked: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(body)) {
    if (!NAMING.has(key)) continue;
    if (isPlain(value)) asked[key] = shortened(value);
    else if (Array.isArray(value) && value.every(isPlain))
      asked[key] = value.slice(0, MAX_LIST).map(shortened);
  }
  return Object.keys(asked).length > 0 ? asked : null;
}

function isPlain(value: unknown): value is string | number | boolean | null {
  return value === null || ['string', 'number', 'boolean'].includes(typeof value);
}

/** Postgres keeps no NUL in JSON, and canonical JSON no lone surrogates. */
function shortened<T>(value: T): T | string {
  if (typeof value !== 'string') return value;
  return value.slice(0, MAX_TEXT).replaceAll('\0', '\uFFFD').toWellFormed();
}
