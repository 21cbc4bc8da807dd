import type { ClientBase } from 'pg';
import type { AcceptedEvent } from '../core/accept.js';
import type { Json } from '../core/audit-event.js';
import type { Change, Version } from '../core/change.js';
import { objectID } from '../core/identity.js';
import { orderWrites, projectWrites } from '../core/project.js';
import { formatMicros } from '../core/timestamp.js';
import type { EventClass } from '../core/vocabulary.js';
import { makesVersion, metadataOf, stringOf, type Write } from '../core/write.js';
import { CHANGE_COLUMNS, type Dictionaries, writeChangeRow } from './append-rows.js';
import type { BatchBodies, BodyCache } from './body-cache.js';
import { CopyRows, copyRows } from './copy.js';
import type { KnownEvents } from './known-events.js';
import {
  type AuthoredVersionRow,
  digestsOf,
  findHeads,
  findVersionsAround,
  goesBefore,
  type VersionRow,
  versionOf,
  writeOfRow,
} from './versions.js';

/** A write to be projected, with the event it stands for. */
export interface PendingWrite {
  write: Write;
  accepted: AcceptedEvent;
  sourceID: number;
  seq: number;
}

interface Context {
  dictionaries: Dictionaries;
  bodies: BatchBodies;
  bodyCache: BodyCache;
  known: KnownEvents;
}

export interface AppendedChanges {
  /** The class of each write's event, now that it is known what it changed. */
  classes: Map<AcceptedEvent, EventClass>;
  /** Sends the changes' rows; their dictionary entries must be there by then. */
  copy(): Promise<void>;
  /** To be called after the commit: what was projected is likely to be the next write's version before. */
  committed(): void;
}

/** How far around a late write other versions are looked for, in microseconds: clocks of several apiservers differ. */
const LATE_SKEW = 60_000_000;

/** Projects a batch's writes, each object's against its version in the store, late ones between their neighbours. */
export async function appendChanges(
  client: ClientBase,
  clusterID: number,
  pending: PendingWrite[],
  context: Context,
): Promise<AppendedChanges> {
  const classes = new Map<AcceptedEvent, EventClass>();
  const changes = new CopyRows();
  const uids = new Map<string, ObjectUid>();
  const after: Array<{ digest: string; object: Json; size: number }> = [];
  const kept = await keptSeqs(client, clusterID, pending, context.known);

  const byObject = new Map<string, PendingWrite[]>();
  for (const item of pending) {
    const id = objectID(item.write.key);
    const own = byObject.get(id);
    if (own) own.push(item);
    else byObject.set(id, [item]);
  }
  const versioned = [...byObject]
    .filter(([, items]) => items.some((item) => makesVersion(item.write)))
    .map(([id]) => id);
  const heads = await findHeads(client, clusterID, versioned);
  const stored = await context.bodyCache.load(
    client,
    clusterID,
    [...heads.values()].flatMap((head) => (head.after_digest ? [head.after_digest.toString('hex')] : [])),
  );
  for (const [digest, value] of stored) context.bodies.addStored(value, digest);

  const emit = (item: PendingWrite, change: Change) => {
    const state = change.after?.state.object;
    const afterDigest = context.bodies.digest(state);
    if (context.known.reusedAuditIDs.has(item.accepted.event.auditID)) change.flags.push('audit_id_reused');
    writeChangeRow(
      changes,
      change,
      {
        clusterID,
        seq: kept.get(item.write.changeID) ?? item.seq,
        sourceID: item.sourceID,
        eventDigest: item.accepted.digest,
        auditID: item.accepted.event.auditID,
        requestDigest: item.write.itemOfCollection ? undefined : item.accepted.request?.digest,
        responseDigest: item.write.itemOfCollection ? afterDigest : item.accepted.response?.digest,
        beforeDigest: context.bodies.digest(change.before?.state.object),
        afterDigest,
      },
      context.dictionaries,
    );
    if (!item.write.itemOfCollection) classes.set(item.accepted, change.class);
    noteUid(uids, change);
    if (state && afterDigest)
      after.push({ digest: afterDigest.toString('hex'), object: state, size: item.accepted.size });
  };

  for (const [id, items] of byObject) {
    const head = heads.get(id);
    const byWrite = new Map(items.map((item) => [item.write, item]));
    const plain = items.filter((item) => !makesVersion(item.write)).map((item) => item.write);
    const ordered = orderWrites(items.filter((item) => makesVersion(item.write)).map((item) => item.write));
    const late = head && ordered[0] && goesBefore(ordered[0], head);
    const projections = late
      ? await reproject(client, clusterID, id, ordered, context)
      : projectWrites(head && versionOf(head, stored), ordered);
    for (const projection of [...projections, ...projectWrites(undefined, plain)]) {
      const item = byWrite.get(projection.write);
      if (!item) continue;
      if (projection.noOp) classes.set(item.accepted, 'no_op');
      else emit(item, projection.change);
    }
  }
  return {
    classes,
    copy: async () => {
      await copyRows(client, 'changes', CHANGE_COLUMNS, changes);
      await appendUids(client, clusterID, uids);
    },
    committed: () => {
      for (const { digest, object, size } of after) context.bodyCache.put(digest, object, size);
    },
  };
}

/** Changes that these writes complete (an exec that had only started, an outcome that was unknown) give way, but keep their place in seq. */
async function keptSeqs(
  client: ClientBase,
  clusterID: number,
  pending: PendingWrite[],
  known: KnownEvents,
): Promise<Map<string, number>> {
  const candidates = pending.filter((item) => known.mayHaveChange(item.accepted));
  const kept = new Map<string, number>();
  if (candidates.length === 0) return kept;
  const { rows } = await client.query<{ change_id: string; seq: string }>({
    name: 'replace-changes',
    text: `delete from changes c using unnest($2::timestamptz[], $3::uuid[]) as r (at, id)
            where c.cluster_id = $1 and c.at = r.at and c.change_id = r.id returning c.change_id, c.seq`,
    values: [
      clusterID,
      candidates.map((item) => formatMicros(item.write.at)),
      candidates.map((item) => item.write.changeID),
    ],
  });
  for (const row of rows) kept.set(row.change_id, Number(row.seq));
  return kept;
}

/**
 * Events came out of order: projects an object's new writes together with the stored ones around them, and mends the
 * stored changes whose version before has changed by it.
 */
async function reproject(
  client: ClientBase,
  clusterID: number,
  id: string,
  writes: Write[],
  context: Context,
) {
  const times = writes.flatMap((write) => [write.at, write.completedAt]);
  const since = formatMicros(Math.max(0, Math.min(...times) - LATE_SKEW));
  const rows = await findVersionsAround(
    client,
    clusterID,
    id,
    since,
    formatMicros(Math.max(...times) + LATE_SKEW),
  );
  const loaded = await context.bodyCache.load(client, clusterID, rows.flatMap(digestsOf));
  for (const [digest, value] of loaded) context.bodies.addStored(value, digest);
  const byWrite = new Map<Write, AuthoredVersionRow>(rows.map((row) => [writeOfRow(row, loaded), row]));
  const ordered = orderWrites([...byWrite.keys(), ...writes]);
  // The oldest row found stands for all that came before it; it is projected again only if a write goes before it.
  const oldest = byWrite.get(ordered[0]!);
  const projections = oldest
    ? projectWrites(versionOf(oldest, loaded), ordered.slice(1))
    : projectWrites(undefined, ordered);
  for (const projection of projections) {
    const row = byWrite.get(projection.write);
    if (!row) continue;
    if (projection.noOp) await becomeNoOp(client, clusterID, row);
    else await mend(client, clusterID, row, projection.change, context);
  }
  return projections;
}

async function becomeNoOp(client: ClientBase, clusterID: number, row: VersionRow): Promise<void> {
  await client.query('delete from changes where cluster_id = $1 and at = $2 and change_id = $3', [
    clusterID,
    row.at,
    row.change_id,
  ]);
  await reclassify(client, clusterID, row, 'no_op');
}

async function reclassify(
  client: ClientBase,
  clusterID: number,
  row: VersionRow,
  eventClass: EventClass,
): Promise<void> {
  // An item of a deletecollection shares its event with the collection.
  if (row.flags?.includes('item_of_collection')) return;
  await client.query(`update events set class = $4 where cluster_id = $1 and at = $2 and digest = $3`, [
    clusterID,
    row.at,
    row.event_digest,
    eventClass,
  ]);
}

/** Rewrites what a stored change says where its new projection says otherwise. */
async function mend(
  client: ClientBase,
  clusterID: number,
  row: VersionRow,
  change: Change,
  context: Context,
): Promise<void> {
  const flags: string[] = [...change.flags];
  if (row.flags?.includes('audit_id_reused')) flags.push('audit_id_reused');
  const after = change.after;
  if (change.class !== row.class) await reclassify(client, clusterID, row, change.class);
  await client.query(
    `update changes set class = $4, kind = $5, before_digest = $6, before_certainty = $7, after_digest = $8,
            after_certainty = $9, inferred = $10, diff = $11, field_terms = $12, labels = $13, summary = $14, flags = $15,
            order_rv = $16, deleted = $17
      where cluster_id = $1 and at = $2 and change_id = $3
        and (class, kind, before_digest, after_digest, after_certainty, summary, flags, order_rv, deleted)
            is distinct from ($4, $5, $6, $8, $9, $14, $15, $16, $17)`,
    [
      clusterID,
      row.at,
      row.change_id,
      change.class,
      change.kind,
      context.bodies.digest(change.before?.state.object) ?? null,
      change.before?.state.certainty ?? null,
      context.bodies.digest(after?.state.object) ?? null,
      after?.state.certainty ?? null,
      after?.state.inferred ? JSON.stringify(after.state.inferred) : null,
      change.diff === undefined ? null : JSON.stringify(change.diff),
      orNull(change.fieldTerms),
      orNull(change.labels),
      change.summary,
      orNull(flags),
      String(after?.orderRV ?? 0n),
      after?.deleted ?? false,
    ],
  );
}

function orNull(list: string[]): string[] | null {
  return list.length > 0 ? list : null;
}

interface ObjectUid {
  objectID: string;
  ownerUid: string | undefined;
  ownerKind: string | undefined;
  ownerName: string | undefined;
  at: number;
}

/** Notes the life of an object under its uid, with its controlling owner (metav1.OwnerReference.controller). */
function noteUid(uids: Map<string, ObjectUid>, change: Change): void {
  const version: Version | undefined = change.after;
  const uid = version?.uid;
  if (!version || uid === undefined) return;
  const references = metadataOf(version.state.object)?.ownerReferences;
  const owners = Array.isArray(references) ? (references as Array<Record<string, unknown>>) : [];
  const owner = owners.find((reference) => reference?.controller === true) ?? owners[0];
  const earlier = uids.get(uid);
  if (earlier && (earlier.ownerUid !== undefined || !owner)) return;
  uids.set(uid, {
    objectID: objectID(change.write.key),
    ownerUid: stringOf(owner?.uid),
    ownerKind: stringOf(owner?.kind),
    ownerName: stringOf(owner?.name),
    at: change.write.at,
  });
}

async function appendUids(
  client: ClientBase,
  clusterID: number,
  uids: Map<string, ObjectUid>,
): Promise<void> {
  if (uids.size === 0) return;
  const entries = [...uids];
  await client.query({
    name: 'append-uids',
    text: `insert into object_uids (cluster_id, uid, object_id, owner_uid, owner_kind, owner_name, seen_at)
           select $1, * from unnest($2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::timestamptz[])
           on conflict (cluster_id, uid) do update
             set owner_uid = excluded.owner_uid, owner_kind = excluded.owner_kind, owner_name = excluded.owner_name
           where object_uids.owner_uid is null and excluded.owner_uid is not null`,
    values: [
      clusterID,
      entries.map(([uid]) => uid),
      entries.map(([, row]) => row.objectID),
      entries.map(([, row]) => row.ownerUid ?? null),
      entries.map(([, row]) => row.ownerKind ?? null),
      entries.map(([, row]) => row.ownerName ?? null),
      entries.map(([, row]) => formatMicros(row.at)),
    ],
  });
}
