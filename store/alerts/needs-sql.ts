import { type RawBuilder, sql } from 'kysely';
import type { Column, Needs } from '../../core/alerts/needs.js';
import { VERDICTS } from '../../core/verdict/verdict.js';
import { CHANGE_KINDS, EVENT_CLASSES } from '../../core/vocabulary.js';

/** Where each column of what rules look at is; undefined: nowhere, and then it leaves nothing out. */
export type ColumnPlaces = Partial<Record<Column, RawBuilder<unknown>>>;

/** Columns of enums: compared as such, so that their indexes can be used. */
const ENUMS: Partial<Record<Column, { type: string; words: readonly string[] }>> = {
  class: { type: 'event_class', words: EVENT_CLASSES },
  kind: { type: 'change_kind', words: CHANGE_KINDS },
  verdict: { type: 'verdict_name', words: VERDICTS },
};

/** The condition that leaves out rows which a rule can't match. Users are looked up in the dictionary first. */
export function needsCondition(needs: Needs, clusterID: number, places: ColumnPlaces): RawBuilder<unknown> {
  if (needs.kind === 'everything') return sql`true`;
  if (needs.kind !== 'column') {
    if (needs.of.length === 0) return needs.kind === 'all' ? sql`true` : sql`false`;
    const each = needs.of.map((one) => needsCondition(one, clusterID, places));
    return sql`(${sql.join(each, needs.kind === 'all' ? sql` and ` : sql` or `)})`;
  }
  const place = places[needs.column];
  if (!place) return sql`true`;
  const known = ENUMS[needs.column];
  if (known && needs.like.length === 0) {
    const words = needs.exact.filter((word) => known.words.includes(word));
    return words.length === 0 ? sql`false` : sql`${place} = any(${words}::${sql.raw(known.type)}[])`;
  }
  if (needs.column === 'username')
    return sql`${place} in (select id from users where cluster_id = ${clusterID} and ${texts(sql`username`, needs)})`;
  return texts(known ? sql`${place}::text` : place, needs);
}

function texts(
  place: RawBuilder<unknown>,
  { exact, like }: { exact: readonly string[]; like: readonly string[] },
) {
  const conditions: RawBuilder<unknown>[] = [];
  if (exact.length > 0) conditions.push(sql`lower(${place}) = any(${exact}::text[])`);
  if (like.length > 0) conditions.push(sql`${place} ilike any(${like}::text[])`);
  return sql`(${sql.join(conditions, sql` or `)})`;
}
