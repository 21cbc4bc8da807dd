import { Type } from 'typebox';
import { WhochangedError } from '../../core/errors.js';
import { decodeCursor } from '../../store/queries/cursor.js';
import {
  findQuarantined,
  findQuarantinedOne,
  type QuarantineItem,
  settleQuarantined,
} from '../../store/queries/quarantine.js';
import type { Api } from '../api.js';
import { pageSchema, words } from '../change-schema.js';
import { PageQuery } from '../list-query.js';

const STATES = ['open', 'replayed', 'dismissed'] as const;
const Item = Type.Object({
  id: Type.String(),
  source: Type.String(),
  receivedAt: Type.String(),
  reason: Type.String(),
  detail: Type.String(),
  replayable: Type.Boolean(),
  state: words(STATES),
  stateAt: Type.Optional(Type.String()),
  seen: Type.Integer({ description: 'how often the same came in' }),
});
const One = Type.Object({
  ...Item.properties,
  sample: Type.String({ description: 'the redacted original' }),
});

function item(row: QuarantineItem) {
  return {
    id: row.id,
    source: row.source,
    receivedAt: row.received_at,
    reason: row.reason,
    detail: row.detail,
    replayable: row.replayable,
    state: row.state,
    ...(row.state_at !== null && { stateAt: row.state_at }),
    seen: row.seen,
  };
}

const TAGS = ['quarantine'];
const Params = Type.Object({ id: Type.String({ pattern: '^\\d{1,18}$' }) });

export function quarantineRoutes({ server, deps, auth }: Api): void {
  const find = async (id: string): Promise<QuarantineItem> => {
    const row = await findQuarantinedOne(deps.db, id);
    if (!row) throw new WhochangedError('not_found', `nothing quarantined has the id ${id}`);
    return row;
  };

  const Query = Type.Object({
    ...PageQuery,
    state: Type.Optional(words(STATES)),
    source: Type.Optional(Type.String()),
  });
  server.get(
    '/v1/quarantine',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: TAGS,
        summary: 'What could not be accepted',
        querystring: Query,
        response: { 200: pageSchema(Item) },
      },
    },
    async ({ query }) => {
      const filter = {
        ...(query.state && { state: query.state }),
        ...(query.source && { source: query.source }),
      };
      const page = await findQuarantined(deps.db, filter, decodeCursor(query.cursor), query.limit ?? 50);
      return { items: page.items.map(item), next: page.next };
    },
  );

  server.get(
    '/v1/quarantine/:id',
    {
      onRequest: auth.require('reader'),
      schema: { tags: TAGS, summary: 'One rejected original', params: Params, response: { 200: One } },
    },
    async ({ params }) => {
      const row = await find(params.id);
      return { ...item(row), sample: row.sample };
    },
  );

  const Replayed = Type.Object({
    stored: Type.Integer(),
    duplicates: Type.Integer(),
    quarantined: Type.Integer(),
    detail: Type.Optional(Type.String()),
  });
  server.post(
    '/v1/quarantine/:id/replay',
    {
      onRequest: auth.require('operator'),
      schema: { tags: TAGS, summary: 'Try to accept it again', params: Params, response: { 200: Replayed } },
    },
    async ({ params }) => {
      const row = await find(params.id);
      if (!row.replayable)
        throw new WhochangedError('conflict', 'only its masked text was kept, which is no event', {
          hint: 'fix the sender, and have it send the event again',
        });
      if (!deps.replay)
        throw new WhochangedError('conflict', 'this process does not receive events', {
          hint: 'ask one that runs the role ingest',
        });
      const result = await deps.replay({ sourceID: row.source_id, clusterID: row.cluster_id }, row.sample);
      if (result.quarantined === 0) await settleQuarantined(deps.db, row.id, 'replayed');
      return {
        stored: result.stored,
        duplicates: result.duplicates,
        quarantined: result.quarantined,
        ...(result.detail !== undefined && { detail: result.detail }),
      };
    },
  );

  server.post(
    '/v1/quarantine/:id/dismiss',
    {
      onRequest: auth.require('operator'),
      schema: { tags: TAGS, summary: 'Mark it as looked at', params: Params, response: { 200: Item } },
    },
    async ({ params }) => {
      await find(params.id);
      await settleQuarantined(deps.db, params.id, 'dismissed');
      return item(await find(params.id));
    },
  );
}
