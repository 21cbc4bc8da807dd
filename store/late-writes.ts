import type { ClientBase } from 'pg';
import type { Change, Projection } from '../core/change.js';
import { orderWrites, projectWrites } from '../core/project.js';
import { formatMicros } from '../core/timestamp.js';
import type { EventClass } from '../core/vocabulary.js';
import type { Write } from '../core/write.js';
import type { BatchBodies, BodyCache } from './body-cache.js';
import { type AuthoredVersionRow, digestsOf, findVersionsAround, versionOf, writeOfRow } from './versions.js';

/** One object's new writes, some of which go before versions that are stored already. Ordered. */
export interface LateWrites {
  objectID: string;
  writes: Write[];
}

/** How far around a late write other versions are looked for, in microseconds: clocks of several apiservers differ. */
const SKEW = 5_000_000;

interface Mend {
  row: AuthoredVersionRow;
  /** undefined: the stored change turned out to have written nothing */
  change: Change | undefined;
}

/**
 * Events came out of order: projects new writes together with the stored ones around them, and mends the stored
 * changes whose version before has changed by it. Returns the new writes' projections.
 */
export async function projectLateWrites(
  client: ClientBase,
  clusterID: number,
  late: LateWrites[],
  bodies: BatchBodies,
  cache: BodyCache,
): Promise<Projection[]> {
  const spans = late.map(({ objectID, writes }) => {
    const times = writes.flatMap((write) => [write.at, write.completedAt]);
    return {
      objectID,
      since: formatMicros(Math.max(0, Math.min(...times) - SKEW)),
      until: formatMicros(Math.max(...times) + SKEW),
    };
  });
  const around = await findVersionsAround(client, clusterID, spans);
  const loaded = await cache.load(
    client,
    clusterID,
    [...around.values()].flatMap((rows) => rows.flatMap(digestsOf)),
  );
  for (const [digest, value] of loaded) bodies.addStored(value, digest);

  const projections: Projection[] = [];
  const mends: Mend[] = [];
  for (const { objectID, writes } of late) {
    const stored = new Map((around.get(objectID) ?? []).map((row) => [writeOfRow(row, loaded), row]));
    const { base, affected } = affectedBy(writes, stored);
    for (const projection of projectWrites(base && versionOf(base, loaded), affected)) {
      const row = stored.get(projection.write);
      if (!row) projections.push(projection);
      else mends.push({ row, change: projection.noOp ? undefined : projection.change });
    }
  }
  await applyMends(client, clusterID, mends, bodies);
  return projections;
}

/**
 * What must be projected again: from the first new write up to the first stored version behind the last one that was
 * seen in whole, since nothing before it changes what comes after it.
 */
function affectedBy(
  writes: Write[],
  stored: ReadonlyMap<Write, AuthoredVersionRow>,
): { base: AuthoredVersionRow | undefined; affected: Write[] } {
  const ordered = orderWrites([...stored.keys(), ...writes]);
  const isNew = (write: Write) => !stored.has(write);
  const first = ordered.findIndex(isNew);
  let end = ordered.findLastIndex(isNew) + 1;
  while (end < ordered.length && stored.get(ordered[end]!)!.after_certainty !== 'exact') end++;
  const before = ordered[first - 1];
  return { base: before && stored.get(before), affected: ordered.slice(first, end + 1) };
}

/** Rewrites what stored changes say where their new projection says otherwise. */
async function applyMends(
  client: ClientBase,
  clusterID: number,
  mends: Mend[],
  bodies: BatchBodies,
): Promise<void> {
  const gone = mends.filter((mend) => mend.change === undefined).map(({ row }) => row);
  if (gone.length > 0) {
    await client.query(
      `delete from changes c using unnest($2::timestamptz[], $3::uuid[]) as g (at, id)
        where c.cluster_id = $1 and c.at = g.at and c.change_id = g.id`,
      [clusterID, gone.map((row) => row.at), gone.map((row) => row.change_id)],
    );
  }
  await reclassifyEvents(client, clusterID, mends);
  const changed = mends.flatMap(({ row, change }) => (change ? [mendedColumns(row, change, bodies)] : []));
  if (changed.length === 0) return;
  await client.query({
    name: 'mend-changes',
    text: `with mended as (
             select * from jsonb_to_recordset($2::jsonb) as m (
               at timestamptz, change_id uuid, class event_class, kind change_kind, before_digest text, before_certainty certainty,
               after_digest text, after_certainty certainty, inferred jsonb, diff jsonb, field_terms text[], labels text[],
               summary text, flags text[], order_rv bigint, deleted boolean))
           update changes c
              set class = m.class, kind = m.kind, before_digest = decode(m.before_digest, 'hex'), before_certainty = m.before_certainty,
                  after_digest = decode(m.after_digest, 'hex'), after_certainty = m.after_certainty, inferred = m.inferred, diff = m.diff,
                  field_terms = m.field_terms, labels = m.labels, summary = m.summary, flags = m.flags, order_rv = m.order_rv,
                  deleted = m.deleted
             from mended m
            where c.cluster_id = $1 and c.at = m.at and c.change_id = m.change_id
              and (c.class, c.kind, c.before_digest, c.before_certainty, c.after_digest, c.after_certainty, c.inferred, c.summary,
                   c.flags, c.order_rv, c.deleted)
                  is distinct from (m.class, m.kind, decode(m.before_digest, 'hex'), m.before_certainty,
                                    decode(m.after_digest, 'hex'), m.after_certainty, m.inferred, m.summary, m.flags, m.order_rv,
                                    m.deleted)`,
    values: [clusterID, JSON.stringify(changed)],
  });
}

function mendedColumns(row: AuthoredVersionRow, change: Change, bodies: BatchBodies) {
  const { before, after } = change;
  const flags: string[] = [...change.flags];
  if (row.flags?.includes('audit_id_reused')) flags.push('audit_id_reused');
  return {
    at: row.at,
    change_id: row.change_id,
    class: change.class,
    kind: change.kind,
    before_digest: bodies.digest(before?.state.object)?.toString('hex'),
    before_certainty: before?.state.certainty,
    after_digest: bodies.digest(after?.state.object)?.toString('hex'),
    after_certainty: after?.state.certainty,
    inferred: after?.state.inferred,
    diff: change.diff,
    field_terms: orNull(change.fieldTerms),
    labels: orNull(change.labels),
    summary: change.summary,
    flags: orNull(flags),
    order_rv: String(after?.orderRV ?? 0n),
    deleted: after?.deleted ?? false,
  };
}

/** An event's class follows its change's. An item of a deletecollection shares its event with the collection. */
async function reclassifyEvents(client: ClientBase, clusterID: number, mends: Mend[]): Promise<void> {
  const classes: Array<{ row: AuthoredVersionRow; class: EventClass }> = [];
  for (const { row, change } of mends) {
    const eventClass = change?.class ?? 'no_op';
    if (eventClass !== row.class && !row.flags?.includes('item_of_collection'))
      classes.push({ row, class: eventClass });
  }
  if (classes.length === 0) return;
  await client.query(
    `update event_rows e set class = r.class
       from unnest($2::timestamptz[], $3::bytea[], $4::event_class[]) as r (at, digest, class)
      where e.cluster_id = $1 and e.at = r.at and e.digest = r.digest`,
    [
      clusterID,
      classes.map(({ row }) => row.at),
      classes.map(({ row }) => row.event_digest),
      classes.map((item) => item.class),
    ],
  );
}

function orNull(list: string[]): string[] | null {
  return list.length > 0 ? list : null;
}
