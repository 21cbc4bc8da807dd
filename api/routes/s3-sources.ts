import { type Static, Type } from 'typebox';
import { WhochangedError } from '../../core/errors.js';
import { decodeCursor } from '../../store/queries/cursor.js';
import {
  findSourceObjects,
  OBJECT_STATES,
  retrySourceObjects,
  type SourceObjectItem,
} from '../../store/queries/source-objects.js';
import { findSourceStatus, type SourceStatus } from '../../store/queries/source-status.js';
import { findSourceIDs, findSources } from '../../store/queries/sources.js';
import { createS3Source, type NewS3Source } from '../../store/s3-sources.js';
import type { Api } from '../api.js';
import { pageSchema, words } from '../change-schema.js';
import type { ApiDeps } from '../deps.js';
import { PageQuery } from '../list-query.js';
import { LocationProperties, nameOfLocation, readLocation } from '../s3-location.js';
import { readTime } from '../times.js';
import { findSource, Name, Source, sourceItem } from './sources.js';

const MAX_LOOK_BACK_SECONDS = 90 * 86_400;
const TAGS = ['sources'];

const Time = Type.Union([Type.String(), Type.Null()]);
export const TroubleSchema = Type.Object({
  code: Type.String(),
  message: Type.String(),
  hint: Type.Optional(Type.String()),
});
const MaybeTrouble = Type.Union([TroubleSchema, Type.Null()]);
export const ObjectCounts = Type.Record(Type.String(), Type.Integer(), {
  description: `how many objects are in each state: ${OBJECT_STATES.join(', ')}`,
});

const Status = Type.Object({
  name: Type.String(),
  cluster: Type.String(),
  kind: Type.String(),
  state: words(['ok', 'behind', 'failing', 'silent', 'never', 'disabled'] as const),
  lagSeconds: Type.Union([Type.Number(), Type.Null()], {
    description:
      'age of the oldest object that waits; of a webhook, between an event and its arrival at the last batch',
  }),
  lastReceivedAt: Time,
  lastEventAt: Time,
  events: Type.Integer(),
  duplicates: Type.Integer(),
  quarantined: Type.Integer(),
  skipped: Type.Integer({ description: 'records of its objects that are no audit events' }),
  salvaged: Type.Integer({ description: 'events of its objects of which only a part could be read' }),
  location: Type.Union([
    Type.Object({
      bucket: Type.String(),
      prefix: Type.String(),
      region: Time,
      endpoint: Time,
      format: Type.String(),
      roleARN: Time,
      profile: Time,
      queueURL: Time,
    }),
    Type.Null(),
  ]),
  objects: ObjectCounts,
  oldestWaitingAt: Time,
  nextRetryAt: Time,
  listing: Type.Union([
    Type.Object({
      pass: Type.Union([words(['full', 'recent']), Type.Null()]),
      keys: Type.Integer({ description: 'looked at in the last or running pass' }),
      afterKey: Time,
      listedAt: Time,
      fullListedAt: Time,
      dueAt: Type.String(),
      error: MaybeTrouble,
      errorAt: Time,
    }),
    Type.Null(),
  ]),
  queue: Type.Union([Type.Object({ polledAt: Time, error: MaybeTrouble, errorAt: Time }), Type.Null()]),
  lastError: Type.Union([
    Type.Object({
      key: Type.String(),
      state: Type.String(),
      attempts: Type.Integer(),
      at: Type.String(),
      error: TroubleSchema,
    }),
    Type.Null(),
  ]),
  spool: Type.Union([Type.Object({ bytes: Type.Integer() }), Type.Null()], {
    description: 'of the process that answers, for all sources; null where it does not receive',
  }),
});

const SourceObject = Type.Object({
  id: Type.String(),
  bucket: Type.String(),
  key: Type.String(),
  etag: Type.String(),
  versionID: Time,
  size: Type.Union([Type.Integer(), Type.Null()]),
  lastModified: Type.String(),
  foundAt: Type.String(),
  state: words(OBJECT_STATES),
  attempts: Type.Integer(),
  nextAttemptAt: Time,
  leaseOwner: Time,
  leaseUntil: Time,
  startedAt: Time,
  finishedAt: Time,
  position: Type.Integer({ description: 'bytes read of it' }),
  events: Type.Integer(),
  duplicates: Type.Integer({ description: 'of the events, those that were stored before' }),
  quarantined: Type.Integer(),
  skipped: Type.Integer({ description: 'records that are no audit events' }),
  salvaged: Type.Integer({ description: 'events of which only a part could be read' }),
  error: MaybeTrouble,
  errorAt: Time,
});

function objectItem(row: SourceObjectItem): Static<typeof SourceObject> {
  const waits = row.state === 'new' || row.state === 'failed';
  return {
    id: row.id,
    bucket: row.bucket,
    key: row.key,
    etag: row.etag,
    versionID: row.version_id,
    size: row.size === null ? null : Number(row.size),
    lastModified: row.last_modified,
    foundAt: row.found_at,
    state: row.state,
    attempts: row.attempts,
    nextAttemptAt: waits ? row.due_at : null,
    leaseOwner: row.lease_owner,
    leaseUntil: row.state === 'leased' ? row.due_at : null,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
    position: Number(row.position),
    events: Number(row.events),
    duplicates: Math.max(0, Number(row.events) - Number(row.stored)),
    quarantined: Number(row.quarantined),
    skipped: Number(row.skipped),
    salvaged: Number(row.salvaged),
    error: row.error,
    errorAt: row.error_at,
  };
}

function statusItem(
  row: SourceStatus,
  source: Static<typeof Source>,
  spool: { bytes: number } | null,
): Static<typeof Status> {
  const { health } = source;
  const failing = Boolean(row.listing?.error ?? row.queue?.error ?? row.objects.failed);
  const waiting = row.oldest_waiting_at !== null;
  const readHere = row.location !== null && source.disabledAt === null;
  const state = !readHere
    ? health.state
    : failing
      ? 'failing'
      : waiting
        ? 'behind'
        : row.listing?.listedAt || row.objects.done
          ? 'ok'
          : 'never';
  const waitedSeconds = waiting ? (Date.now() - Date.parse(row.oldest_waiting_at!)) / 1000 : 0;
  return {
    name: row.name,
    cluster: source.cluster,
    kind: source.kind,
    state,
    lagSeconds: readHere ? Math.max(0, waitedSeconds) : health.lagSeconds,
    lastReceivedAt: health.lastReceivedAt,
    lastEventAt: health.lastEventAt,
    events: health.events,
    duplicates: health.duplicates,
    quarantined: health.quarantined,
    skipped: Number(row.skipped),
    salvaged: Number(row.salvaged),
    location: row.location,
    objects: row.objects,
    oldestWaitingAt: row.oldest_waiting_at,
    nextRetryAt: row.next_retry_at,
    listing: row.listing,
    queue: row.queue,
    lastError: row.last_error,
    spool,
  };
}

/** Creates an s3 source in a transaction. */
export async function addS3Source(deps: ApiDeps, source: NewS3Source): Promise<void> {
  const client = await deps.pool.connect();
  try {
    await client.query('begin');
    await createS3Source(client, source);
    await client.query('commit');
  } catch (error) {
    await client.query('rollback');
    if ((error as { code?: string }).code === '23505')
      throw new WhochangedError('conflict', `a source called "${source.name}" is there already`, {
        hint: 'choose another name with --name',
      });
    throw error;
  } finally {
    client.release();
  }
  deps.sourcesChanged();
}

export function s3SourceRoutes({ server, deps, auth }: Api): void {
  const Create = Type.Object({
    name: Type.Optional(Name),
    cluster: Name,
    ...LocationProperties,
    sqsQueueURL: Type.Optional(Type.String({ maxLength: 500 })),
    lookBackSeconds: Type.Optional(
      Type.Integer({ minimum: 0, maximum: MAX_LOOK_BACK_SECONDS, default: 86_400 }),
    ),
    from: Type.Optional(Type.String({ description: 'pass over what is older; a time, or 7d ago' })),
  });
  server.post(
    '/v1/sources/s3',
    {
      onRequest: auth.require('operator'),
      schema: {
        tags: TAGS,
        summary: 'Read a prefix of a bucket, and follow it',
        body: Create,
        response: { 201: Source },
      },
    },
    async ({ body }, reply) => {
      const location = readLocation(body, deps.formats, body.sqsQueueURL);
      const name = body.name ?? nameOfLocation(location);
      const since = readTime('from', body.from) ?? null;
      const follow = { lookBackSeconds: body.lookBackSeconds ?? 86_400, since };
      await addS3Source(deps, { name, cluster: body.cluster, location, follow });
      return reply.code(201).send(sourceItem(await findSource(deps.db, name)));
    },
  );

  const status = async (name?: string) => {
    const sources = new Map((await findSources(deps.db, name)).map((row) => [row.name, sourceItem(row)]));
    const spool = deps.spoolStatus?.() ?? null;
    const rows = await findSourceStatus(deps.db, name);
    return rows.flatMap((row) => {
      const source = sources.get(row.name);
      return source ? [statusItem(row, source, spool)] : [];
    });
  };
  server.get(
    '/v1/sources/status',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: TAGS,
        summary: 'How far each source is: objects by state, lag, errors, next retry',
        response: { 200: Type.Object({ items: Type.Array(Status) }) },
      },
    },
    async () => ({ items: await status() }),
  );

  const Params = Type.Object({ name: Name });
  server.get(
    '/v1/sources/:name/status',
    {
      onRequest: auth.require('reader'),
      schema: { tags: TAGS, summary: 'How far one source is', params: Params, response: { 200: Status } },
    },
    async ({ params }) => {
      await findSource(deps.db, params.name);
      return (await status(params.name))[0]!;
    },
  );

  const ids = async (name: string) => {
    await findSource(deps.db, name);
    return (await findSourceIDs(deps.db, name))!;
  };
  const Query = Type.Object({ ...PageQuery, state: Type.Optional(words(OBJECT_STATES)) });
  server.get(
    '/v1/sources/:name/objects',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: TAGS,
        summary: 'The ledger of its objects and imported files, the last written first',
        params: Params,
        querystring: Query,
        response: { 200: pageSchema(SourceObject) },
      },
    },
    async ({ params, query }) => {
      const filter = { state: query.state };
      const page = await findSourceObjects(
        deps.db,
        await ids(params.name),
        filter,
        decodeCursor(query.cursor),
        query.limit ?? 50,
      );
      return { items: page.items.map(objectItem), next: page.next };
    },
  );

  server.post(
    '/v1/sources/:name/retry',
    {
      onRequest: auth.require('operator'),
      schema: {
        tags: TAGS,
        summary: 'Try again at once what failed or is damaged',
        params: Params,
        response: { 200: Type.Object({ objects: Type.Integer() }) },
      },
    },
    async ({ params }) => {
      const objects = await retrySourceObjects(deps.db, await ids(params.name));
      deps.sourcesChanged();
      return { objects };
    },
  );
}
