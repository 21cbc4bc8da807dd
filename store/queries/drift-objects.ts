import { type Kysely, sql } from 'kysely';
import type { JsonObject } from '../../core/audit-event.js';
import { isJsonObject } from '../../core/classify.js';
import type { ManagedObject, ManagedWrite } from '../../core/drift/object-drift.js';
import type { LinkedSource, LinkRule, Strength } from '../../core/links/link.js';
import { revisionKey } from '../../core/links/sync.js';
import type { VerdictName } from '../../core/verdict/verdict.js';
import type { Certainty, ChangeClass, ChangeKind } from '../../core/vocabulary.js';
import { metadataOf } from '../../core/write.js';
import type { Database } from '../schema.js';
import type { ApplicationRow } from './applications.js';
import { findBodies, objectIn } from './bodies.js';
import { changeOf, KEYS, WRITER, WRITERS, type WriterRow } from './drift-writers.js';
import { newestVersion } from './objects.js';

/** The most objects of one application that are looked at, and the most writes of one object. */
export const MOST_OBJECTS = 2000;
const MOST_WRITES = 50;
/** Versions this near to each other are ordered by resourceVersion. */
export const CLOSE_ROWS = 6;

const PATHS = sql`(select array_agg(d->>'path') from jsonb_array_elements(c.diff) d)`;

/** As JSON tells it. */
interface Version {
  change_id: string;
  micros: string;
  completed_at: string;
  order_rv: string;
  resource_version: string | null;
  deleted: boolean;
  certainty: Certainty;
  /** In hex: of the object after the write, or of the one that is gone. */
  digest: string | null;
}

interface ObjectRow {
  cluster_id: number;
  cluster: string;
  object_id: string;
  api_group: string;
  resource: string;
  namespace: string;
  name: string;
  versions: Version[] | null;
  base_change: string | null;
  base_micros: string | null;
  base_digest: Buffer | null;
  base_rule: LinkRule | null;
  base_strength: Strength | null;
  base_sources: LinkedSource[] | null;
  /** Whether the sync that it came by was this application's. */
  base_own: boolean | null;
}

/**
 * The objects that ever bore an application's mark, each with its newest version, what git last wrote there, and every
 * write since. Those of other clusters are its own where they have no application of that name themselves, and no other
 * hub's sync wrote them.
 * @returns at most MOST_OBJECTS, and whether there are more
 */
export async function findManagedObjects(
  db: Kysely<Database>,
  { cluster_id: home, object_id, engine, namespace, name }: ApplicationRow,
): Promise<{ objects: ManagedObject[]; more: boolean }> {
  const { apiGroup, resource } = KEYS[engine];
  const keys = [`${engine}/${namespace}/${name}`, `${engine}//${name}`];
  const { rows } = await sql<ObjectRow>`
    select m.cluster_id, k.name as cluster, m.object_id, o.api_group, o.resource, o.namespace, o.name,
           v.versions, b.change_id as base_change, b.micros as base_micros, b.after_digest as base_digest,
           b.rule as base_rule, b.strength as base_strength, b.sources as base_sources, b.own as base_own
      from (select distinct cluster_id, object_id from managed_objects a
             where application = any(${keys}::text[])
               and (cluster_id = ${home} or ${engine} = 'argocd' and not exists (
                 select from objects own where own.cluster_id = a.cluster_id and own.name = ${name}
                    and own.resource = ${resource} and own.api_group = ${apiGroup}))
             order by cluster_id, object_id limit ${MOST_OBJECTS + 1}) m
      join clusters k on k.id = m.cluster_id
      join objects o on o.cluster_id = m.cluster_id and o.id = m.object_id
     cross join lateral (
       select json_agg(json_build_object('change_id', c.change_id, 'micros', (extract(epoch from c.at) * 1000000)::bigint::text,
                'completed_at', to_char(coalesce(c.completed_at, c.at) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                'order_rv', c.order_rv::text, 'resource_version', c.resource_version, 'deleted', c.deleted,
                'certainty', c.after_certainty,
                'digest', encode(case when c.deleted then c.before_digest else c.after_digest end, 'hex')) order by c.at desc) as versions
         from (select * from changes where cluster_id = m.cluster_id and object_id = m.object_id
                  and after_certainty is not null order by at desc limit ${CLOSE_ROWS}) c) v
      left join lateral (
       select l.change_id, (extract(epoch from l.at) * 1000000)::bigint as micros, c.after_digest, l.rule, l.strength, l.sources,
              (select s.cluster_id = ${home} and s.object_id = ${object_id}::uuid from syncs s where s.sync_id = l.sync_id) as own
         from links l join changes c on c.cluster_id = l.cluster_id and c.at = l.at and c.change_id = l.change_id
        where l.cluster_id = m.cluster_id and l.object_id = m.object_id and l.selected and l.strength <> 'weak'
          and l.doubt is null and l.non_git is null and c.after_certainty is not null
        order by l.at desc limit 1) b on true`.execute(db);
  const objects: ManagedObject[] = [];
  const shown = rows
    .slice(0, MOST_OBJECTS)
    .filter((row) => row.cluster_id === home || row.base_own !== false);
  for (const own of byCluster(shown)) objects.push(...(await complete(db, own)));
  return { objects, more: rows.length > MOST_OBJECTS };
}

function byCluster(rows: readonly ObjectRow[]): ObjectRow[][] {
  const groups = new Map<number, ObjectRow[]>();
  for (const row of rows) groups.set(row.cluster_id, [...(groups.get(row.cluster_id) ?? []), row]);
  return [...groups.values()];
}

/** Adds bodies and writes to the rows of one cluster. */
async function complete(db: Kysely<Database>, rows: readonly ObjectRow[]): Promise<ManagedObject[]> {
  const clusterID = rows[0]!.cluster_id;
  const newest = new Map(rows.map((row) => [row, row.versions ? newestVersion(row.versions) : undefined]));
  const digests = [...newest].flatMap(([row, version]) => [
    version?.digest ? Buffer.from(version.digest, 'hex') : null,
    row.base_digest,
  ]);
  const bodies = await findBodies(db, clusterID, digests);
  const writes = await findWrites(
    db,
    clusterID,
    rows.map((row) => ({ objectID: row.object_id, after: row.base_micros ?? '0' })),
  );
  return rows.map((row): ManagedObject => {
    const version = newest.get(row);
    const own = writes.get(row.object_id) ?? [];
    const object = version?.digest ? objectIn(bodies, Buffer.from(version.digest, 'hex')) : undefined;
    const { api_group: apiGroup, resource, namespace, name } = row;
    return {
      cluster: row.cluster,
      key: { apiGroup, resource, namespace, name },
      current: version && {
        changeID: version.change_id,
        at: Number(version.micros),
        deleted: version.deleted,
        certainty: version.certainty,
        object,
      },
      base:
        row.base_change === null
          ? undefined
          : {
              changeID: row.base_change,
              at: Number(row.base_micros),
              object: objectIn(bodies, row.base_digest),
              detail: `git last wrote it: ${revisionKey(row.base_sources ?? []).replaceAll('\n', '; ')} (${row.base_rule}, ${row.base_strength})`,
            },
      writes: own.slice(0, MOST_WRITES),
      moreWrites: own.length > MOST_WRITES,
      marked: isMarked(object, { apiGroup, namespace, name }),
    };
  });
}

/** Whether an object bears a mark that only its own controller sets: labels such as app.kubernetes.io/instance are anyone's. */
function isMarked(
  object: JsonObject | undefined,
  { apiGroup, namespace, name }: { apiGroup: string; namespace: string; name: string },
): boolean {
  const { labels, annotations } = metadataOf(object) ?? {};
  if (
    isJsonObject(labels) &&
    Object.keys(labels).some((key) => /^(kustomize|helm)\.toolkit\.fluxcd\.io\/name$/.test(key))
  )
    return true;
  const id = isJsonObject(annotations) ? annotations['argocd.argoproj.io/tracking-id'] : undefined;
  return (
    typeof id === 'string' &&
    new RegExp(`^[^:]+:${escaped(apiGroup)}/[^:]+:(${escaped(namespace)})?/${escaped(name)}$`).test(id)
  );
}

function escaped(text: string): string {
  return text.replace(/[\\^$.|?+()[\]{}*]/g, '\\$&');
}

/** What was written to objects after a time, newest first, by object; status left out. */
async function findWrites(
  db: Kysely<Database>,
  clusterID: number,
  questions: ReadonlyArray<{ objectID: string; after: string }>,
): Promise<Map<string, ManagedWrite[]>> {
  const { rows } = await sql<
    WriterRow & {
      object_id: string;
      class: ChangeClass;
      kind: ChangeKind;
      deleted: boolean;
      paths: string[] | null;
      verdict: VerdictName | null;
      reason: string | null;
    }
  >`
    select c.object_id, c.change_id, c.at, c.class, c.kind, c.deleted, ${PATHS} as paths, ${WRITER}, v.verdict, v.reason
      from unnest(${questions.map(({ objectID }) => objectID)}::uuid[], ${questions.map(({ after }) => after)}::bigint[]) as q (object_id, after)
     cross join lateral (
       select * from changes
        where cluster_id = ${clusterID} and object_id = q.object_id and at > 'epoch'::timestamptz + q.after * interval '1 microsecond'
          and class in ('change', 'derived')
        order by at desc limit ${MOST_WRITES + 1}) c ${WRITERS}
      left join current_verdicts v on v.cluster_id = c.cluster_id and v.at = c.at and v.change_id = c.change_id
     order by c.at desc`.execute(db);
  const found = new Map<string, ManagedWrite[]>();
  for (const row of rows) {
    const own = found.get(row.object_id) ?? [];
    own.push({
      ...changeOf(row),
      class: row.class,
      kind: row.kind,
      deleted: row.deleted,
      paths: row.paths ?? undefined,
      verdict: row.verdict === null ? undefined : { verdict: row.verdict, reason: row.reason },
    });
    found.set(row.object_id, own);
  }
  return found;
}
