import { type Kysely, sql } from 'kysely';
import type { Json, JsonObject, Level, Stage } from '../../core/audit-event.js';
import { diffObjects, type FieldChange } from '../../core/diff/diff.js';
import { significantChanges } from '../../core/diff/noise.js';
import { millisOfID } from '../../core/identity.js';
import { patchedPaths } from '../../core/patch/apply-patch.js';
import { type Provenance, provenanceOf, type ToldIn } from '../../core/provenance.js';
import type { Certainty } from '../../core/vocabulary.js';
import { prepared } from '../prepared.js';
import type { Database } from '../schema.js';
import { findBodies, objectIn } from './bodies.js';
import type { ChangeRow } from './change-rows.js';
import { findObjectsOfEvents } from './event-objects.js';
import { eventIDSql } from './events.js';

interface Digests {
  cluster_id: number;
  /** The event that the change was made of, and the source that told it. */
  event_digest: Buffer;
  source_id: number;
  level: Level;
  request_digest: Buffer | null;
  before_digest: Buffer | null;
  before_certainty: Certainty | null;
  after_digest: Buffer | null;
  after_certainty: Certainty | null;
  deleted: boolean;
}

export interface ChangeDetail {
  diff: FieldChange[] | undefined;
  extra: {
    requested?: string[];
    decision?: { decision?: string; reason?: string };
    annotations?: Record<string, string>;
    latencyMs?: number;
    events: Array<{ eventID: string; stage: string; source: string }>;
    sources: Provenance[];
  };
}

async function findDigests(db: Kysely<Database>, id: string): Promise<Digests | undefined> {
  const millis = millisOfID(id);
  const { rows } = await prepared(sql<Digests>`
    select cluster_id, event_digest, source_id, level, request_digest, before_digest, before_certainty, after_digest, after_certainty, deleted
      from changes
     where cluster_id in (select id from clusters) and change_id = ${id}::uuid
       and at >= ${new Date(millis).toISOString()}::timestamptz and at < ${new Date(millis + 1).toISOString()}::timestamptz`).execute(
    db,
  );
  return rows[0];
}

/** What a list doesn't show of a change: the whole diff, what the patch named, the decision, the events behind it. */
export async function findChangeDetail(db: Kysely<Database>, row: ChangeRow): Promise<ChangeDetail> {
  const digests = await findDigests(db, row.change_id);
  const bodies = digests
    ? await findBodies(db, digests.cluster_id, [
        digests.request_digest,
        digests.before_digest,
        digests.after_digest,
      ])
    : new Map<string, Json>();
  // What a deletecollection removed is one change each, of the collection's own request.
  const events = await prepared(sql<{
    event_id: string;
    stage: Stage;
    source: string;
    kind: string;
    seq: string;
    digest: Buffer;
    decision: string | null;
    reason: string | null;
    annotations: Record<string, string> | null;
    latency: number;
  }>`
    select ${sql.raw(eventIDSql('e'))} as event_id, e.stage, s.name as source,
           s.kind, e.seq, e.digest, z.decision, z.reason, e.annotations, (extract(epoch from e.stage_at - e.at) * 1000)::float8 as latency
      from events e
      join sources s on s.id = e.source_id
      left join authorizations z on z.cluster_id = e.cluster_id and z.id = e.authorization_id
     where e.cluster_id = ${digests?.cluster_id ?? 0} and e.at = ${row.at}::timestamptz
       and e.request_id = coalesce((select c.request_id from events c
                                     where c.cluster_id = ${digests?.cluster_id ?? 0} and c.at = ${row.at}::timestamptz and c.digest = ${digests?.event_digest ?? null}::bytea
                                       and c.source_id = ${digests?.source_id ?? null}::integer), ${row.change_id}::uuid)
     order by e.stage, e.seq`).execute(db);
  const objects = digests
    ? await findObjectsOfEvents(
        db,
        digests.cluster_id,
        events.rows.map(({ seq }) => seq),
      )
    : new Map<string, ToldIn>();
  const last = events.rows.at(-1);
  const request = digests?.request_digest ? bodies.get(digests.request_digest.toString('hex')) : undefined;
  const after = digests && objectIn(bodies, digests.after_digest);
  return {
    diff: row.diff ?? (digests && computedDiff(digests, bodies)),
    extra: {
      ...(row.patch_type &&
        request !== undefined && { requested: patchedPaths(row.patch_type, request, after) }),
      ...(last?.decision && {
        decision: { decision: last.decision, ...(last.reason && { reason: last.reason }) },
      }),
      ...(last?.annotations && { annotations: last.annotations }),
      ...(last && { latencyMs: Math.round(last.latency * 1000) / 1000 }),
      events: events.rows.map((event) => ({
        eventID: event.event_id,
        stage: event.stage,
        source: event.source,
      })),
      sources: provenanceOf(
        events.rows.map((event) => ({
          ...event,
          digest: event.digest.toString('hex'),
          object: objects.get(event.seq),
        })),
      ),
    },
  };
}

/** Large diffs, and those of status, are not stored; both states are. */
export function computedDiff(
  digests: Pick<
    Digests,
    'before_digest' | 'before_certainty' | 'after_digest' | 'after_certainty' | 'deleted'
  >,
  bodies: ReadonlyMap<string, Json>,
): FieldChange[] | undefined {
  const before = objectIn(bodies, digests.before_digest);
  const after = objectIn(bodies, digests.after_digest);
  if (
    !before ||
    !after ||
    digests.deleted ||
    digests.before_certainty === 'unknown' ||
    digests.after_certainty === 'unknown'
  )
    return undefined;
  const all = diffObjects(before, after);
  const significant = significantChanges(all);
  return significant.length > 0
    ? significant
    : all.filter((change) => !change.path.startsWith('metadata.managedFields'));
}

/** The object on one side of a change, with how it is known. */
export async function findBody(
  db: Kysely<Database>,
  id: string,
  side: 'before' | 'after',
): Promise<{ object: JsonObject; certainty: Certainty } | undefined> {
  const digests = await findDigests(db, id);
  if (!digests) return undefined;
  const digest = side === 'before' ? digests.before_digest : digests.after_digest;
  const certainty = side === 'before' ? digests.before_certainty : digests.after_certainty;
  const object = objectIn(await findBodies(db, digests.cluster_id, [digest]), digest);
  return object && certainty ? { object, certainty } : undefined;
}
