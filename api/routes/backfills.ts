import { type Static, Type } from 'typebox';
import { WhochangedError } from '../../core/errors.js';
import {
  type Backfill,
  cancelBackfill,
  findBackfills,
  findS3SourceAt,
  startBackfill,
} from '../../store/queries/backfills.js';
import { findSourceIDs } from '../../store/queries/sources.js';
import type { Api } from '../api.js';
import { words } from '../change-schema.js';
import { LocationProperties, nameOfLocation, readLocation } from '../s3-location.js';
import { TroubleSchema } from '../source-trouble.js';
import { readTime } from '../times.js';
import { addS3Source } from './s3-sources.js';
import { ObjectCounts } from './source-status.js';
import { Name } from './sources.js';

const TAGS = ['sources'];
const Time = Type.Union([Type.String(), Type.Null()]);
const MaybeTrouble = Type.Union([TroubleSchema, Type.Null()]);

const BackfillSchema = Type.Object({
  id: Type.Integer(),
  source: Type.String(),
  cluster: Type.String(),
  bucket: Type.String(),
  prefix: Type.String(),
  since: Time,
  until: Time,
  createdAt: Type.String(),
  state: words(['listing', 'reading', 'done', 'cancelled'] as const),
  keys: Type.Integer({ description: 'that the listing has looked at' }),
  objects: ObjectCounts,
  found: Type.Integer({ description: 'objects to read' }),
  finished: Type.Integer({ description: 'of them, those that need no more reading' }),
  bytes: Type.Integer({ description: 'of all objects found, as they lie there' }),
  bytesRead: Type.Integer(),
  events: Type.Integer(),
  duplicates: Type.Integer(),
  quarantined: Type.Integer(),
  nextRetryAt: Time,
  error: Type.Union([TroubleSchema, Type.Null()], { description: 'why the listing stands' }),
  lastError: MaybeTrouble,
});

function backfillItem(row: Backfill): Static<typeof BackfillSchema> {
  const total = Object.values(row.objects).reduce((sum, count) => sum + count, 0);
  const { new: waiting = 0, leased = 0, failed = 0 } = row.objects;
  const finished = total - waiting - leased - failed;
  return {
    id: row.id,
    source: row.source,
    cluster: row.cluster,
    bucket: row.bucket,
    prefix: row.prefix,
    since: row.since,
    until: row.until,
    createdAt: row.created_at,
    state: row.cancelled ? 'cancelled' : !row.listed ? 'listing' : finished < total ? 'reading' : 'done',
    keys: Number(row.keys),
    objects: row.objects,
    found: total,
    finished,
    bytes: Number(row.bytes),
    bytesRead: Number(row.bytes_read),
    events: Number(row.events),
    duplicates: Math.max(0, Number(row.events) - Number(row.stored)),
    quarantined: Number(row.quarantined),
    nextRetryAt: row.next_retry_at,
    error: row.error,
    lastError: row.last_error,
  };
}

export function backfillRoutes({ server, deps, auth }: Api): void {
  const find = async (id: number): Promise<Static<typeof BackfillSchema>> => {
    const [row] = await findBackfills(deps.db, id);
    if (!row) throw new WhochangedError('not_found', `no backfill has the id ${id}`);
    return backfillItem(row);
  };

  const Create = Type.Object({
    source: Type.Optional(Name),
    name: Type.Optional(Name),
    cluster: Type.Optional(Name),
    ...LocationProperties,
    bucket: Type.Optional(LocationProperties.bucket),
    from: Type.Optional(Type.String({ description: 'a time, or 30d ago' })),
    to: Type.Optional(Type.String()),
  });
  server.post(
    '/v1/backfills',
    {
      onRequest: auth.require('operator'),
      schema: {
        tags: TAGS,
        summary: 'Read what lies in a bucket already, of a range of time',
        description:
          'Of a source, or of a bucket and prefix for a cluster; that is a source then, which is not followed. Asking again while it is not finished gives the same backfill. Objects are chosen by the day in their key, else by when they were written, with a day more on either side, and read whole.',
        body: Create,
        response: { 200: BackfillSchema, 201: BackfillSchema },
      },
    },
    async ({ body }, reply) => {
      const since = readTime('from', body.from) ?? null;
      const until = readTime('to', body.to) ?? null;
      if (since !== null && until !== null && since >= until)
        throw new WhochangedError('invalid_request', 'from: it is not before to');
      const name = body.source ?? (await sourceAt(body));
      const source = await findSourceIDs(deps.db, name);
      if (!source)
        throw new WhochangedError('not_found', `no source is called "${name}"`, {
          hint: 'see `whochanged source list`',
        });
      if (source.kind !== 's3' || source.disabled)
        throw new WhochangedError(
          'conflict',
          `"${name}" is ${source.disabled ? 'disabled' : 'no s3 source'}`,
        );
      const { id, resumed } = await startBackfill(deps.db, source, { since, until });
      await deps.sourcesChanged();
      return reply.code(resumed ? 200 : 201).send(await find(id));
    },
  );

  /** The source that lies there, made where there is none. */
  const sourceAt = async (body: Static<typeof Create>): Promise<string> => {
    const { bucket, cluster } = body;
    if (bucket === undefined || cluster === undefined)
      throw new WhochangedError('invalid_request', 'source, or bucket and cluster: one of them must be said');
    const location = readLocation({ ...body, bucket }, deps.formats);
    const there = await findS3SourceAt(deps.db, { cluster, bucket, prefix: location.prefix });
    if (there !== undefined) return there;
    const name = body.name ?? nameOfLocation(location);
    await addS3Source(deps, { name, cluster, location, follow: null });
    return name;
  };

  server.get(
    '/v1/backfills',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: TAGS,
        summary: 'The last hundred backfills',
        response: { 200: Type.Object({ items: Type.Array(BackfillSchema) }) },
      },
    },
    async () => ({ items: (await findBackfills(deps.db)).map(backfillItem) }),
  );

  const Params = Type.Object({ id: Type.Integer({ minimum: 1, maximum: 2_147_483_647 }) });
  server.get(
    '/v1/backfills/:id',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: TAGS,
        summary: 'How far a backfill is',
        params: Params,
        response: { 200: BackfillSchema },
      },
    },
    async ({ params }) => find(params.id),
  );

  server.post(
    '/v1/backfills/:id/cancel',
    {
      onRequest: auth.require('operator'),
      schema: {
        tags: TAGS,
        summary: 'Read no more for it; what was read stays',
        params: Params,
        response: { 200: BackfillSchema },
      },
    },
    async ({ params }) => {
      await find(params.id);
      await cancelBackfill(deps.db, params.id);
      return find(params.id);
    },
  );
}
