import { type Static, Type } from 'typebox';
import { decodeCursor } from '../../store/queries/cursor.js';
import {
  findSourceObjects,
  OBJECT_STATES,
  retrySourceObjects,
  type SourceObjectItem,
} from '../../store/queries/source-objects.js';
import { findSourceIDs } from '../../store/queries/sources.js';
import type { Api } from '../api.js';
import { pageSchema, words } from '../change-schema.js';
import { PageQuery } from '../list-query.js';
import { MaybeTrouble } from '../source-trouble.js';
import { findSource, Name } from './sources.js';

const TAGS = ['sources'];
const Time = Type.Union([Type.String(), Type.Null()]);

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

/** The objects and imported files of sources. */
export function sourceObjectRoutes({ server, deps, auth }: Api): void {
  const Params = Type.Object({ name: Name });
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
      await deps.sourcesChanged();
      return { objects };
    },
  );
}
