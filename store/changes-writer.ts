import type { ClientBase } from 'pg';
import type { AcceptedEvent } from '../core/accept.js';
import type { Json } from '../core/audit-event.js';
import type { Change, Projection, Version } from '../core/change.js';
import { objectID } from '../core/identity.js';
import { orderWrites, projectWrites } from '../core/project.js';
import { formatMicros } from '../core/timestamp.js';
import type { EventClass } from '../core/vocabulary.js';
import { makesVersion, metadataOf, stringOf, type Write } from '../core/write.js';
import type { BatchBodies, BodyCache } from './body-cache.js';
import { CHANGE_COLUMNS, writeChangeRow } from './change-row.js';
import { CopyRows, copyRows } from './copy.js';
import type { Dictionaries } from './dictionaries.js';
import { contextID } from './event-row.js';
import type { KnownEvents } from './known-events.js';
import { type LateWrites, projectLateWrites } from './late-writes.js';
import { findHeads, goesBefore, versionOf } from './versions.js';

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
    .filter(([, items]) => items.some(({ write }) => makesVersion(write) || bearsLabels(write)))
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
    if (context.known.reusedAuditIDs.has(item.accepted.auditID)) change.flags.push('audit_id_reused');
    writeChangeRow(
      changes,
      change,
      {
        clusterID,
        seq: kept.get(item.write.changeID) ?? item.seq,
        sourceID: item.sourceID,
        eventDigest: item.accepted.digest,
        auditID: item.accepted.auditID,
        contextID: contextID(item.accepted, context.dictionaries),
        requestDigest: item.write.itemOfCollection ? undefined : item.accepted.request?.digest,
        responseDigest: item.write.itemOfCollection ? afterDigest : item.accepted.response?.digest,
        beforeDigest: context.bodies.digest(change.before?.state.object),
        afterDigest,
      },
      context.dictionaries,
    );
    if (!item.write.itemOfCollection) classes.set(item.accepted, change.class);
    noteUid(uids, change);
    if (state && afterDigest) {
      const digest = afterDigest.toString('hex');
      const size = context.bodies.stored.get(digest)?.json.length ?? item.accepted.size;
      after.push({ digest, object: state, size });
    }
  };

  const itemOf = new Map<Write, PendingWrite>();
  const settle = (projections: Projection[]) => {
    for (const projection of projections) {
      const item = itemOf.get(projection.write)!;
      if (projection.noOp) classes.set(item.accepted, 'no_op');
      else emit(item, projection.change);
    }
  };
  const late: LateWrites[] = [];
  for (const [id, items] of byObject) {
    const head = heads.get(id);
    const plain = items.filter((item) => !makesVersion(item.write)).map((item) => item.write);
    const ordered = orderWrites(items.filter((item) => makesVersion(item.write)).map((item) => item.write));
    const known = head && versionOf(head, stored);
    const isLate = head && ordered[0] && goesBefore(ordered[0], head);
    if (isLate) late.push({ objectID: id, writes: ordered });
    const projections = isLate ? [] : projectWrites(known, ordered);
    const versions = [known, ...projections.map((item) => (item.noOp ? undefined : item.change.after))];
    for (const write of plain) projections.push(...projectWrites(versionAt(versions, write.at), [write]));
    for (const item of items) itemOf.set(item.write, item);
    settle(projections);
  }
  if (late.length > 0)
    settle(await projectLateWrites(client, clusterID, late, context.bodies, context.bodyCache));
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

/** Whether something done to an object, without a version of its own, is looked for by the labels that the object has. */
function bearsLabels(write: Write): boolean {
  return write.class === 'access' || write.subresource === 'eviction';
}

/** The newest of these versions, which are in order, that was there at a time. */
function versionAt(versions: Array<Version | undefined>, at: number): Version | undefined {
  const version = versions.findLast((item) => item !== undefined && item.at <= at);
  return version?.deleted ? undefined : version;
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
