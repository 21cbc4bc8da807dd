const SECONDS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/** `30m`, `2h`, `7d` ago as RFC 3339; what is a time already stays as it is. */
export function absolute(time: string, now = Date.now()): string {
  const match = /^(\d{1,6})([smhdw])$/.exec(time);
  if (!match) return time;
  return new Date(now - Number(match[1]) * SECONDS[match[2]!]! * 1000).toISOString();
}

/** The part of a filter that every view of changes shares, by the names that the API and the command line have. */
export const FILTERS = [
  'namespace',
  'resource',
  'name',
  'actor',
  'kind',
  'tool',
  'verb',
  'field',
  'label',
  'verdict',
  'class',
  'cluster',
] as const;

/** The API's question for an address: the filters that it holds, every value of each. */
export function filterOf(query: URLSearchParams): Record<string, string[] | string> {
  const filter: Record<string, string[] | string> = {};
  for (const name of FILTERS) {
    const values = query.getAll(name).filter((value) => value !== '');
    if (values.length > 0) filter[name] = values;
  }
  if (query.get('all') === 'true') filter.all = 'true';
  return filter;
}
