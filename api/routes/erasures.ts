import { Type } from 'typebox';
import { WhochangedError } from '../../core/errors.js';
import { findSegmentsOfObject } from '../../store/archive/find-reached.js';
import { holdsHeldBody } from '../../store/archive/held-bodies.js';
import { eraseFromSegment } from '../../store/archive/rewrite-segment.js';
import { eraseBodies, findErasable, isHeld, PAYLOAD_PARTS } from '../../store/erasures.js';
import { findHolds } from '../../store/holds.js';
import { findTerminalEvent } from '../../store/log/change-event.js';
import { decodeCursor } from '../../store/queries/cursor.js';
import { findErasedBodies } from '../../store/queries/erasures.js';
import { findEvent } from '../../store/queries/events.js';
import type { Api } from '../api.js';
import { pageSchema, words } from '../change-schema.js';
import { readTime } from '../times.js';

const Erased = Type.Object({
  eventID: Type.String(),
  bodies: Type.Integer({ description: 'bodies that are gone: request, response, the state after it' }),
  changes: Type.Integer({ description: 'changes that no longer tell of their fields' }),
  segments: Type.Integer({ description: 'of the archive, that were written anew without them' }),
  left: Type.Array(Type.String(), {
    description:
      'files that still hold them, since they could not be deleted or written anew: to be deleted by hand',
  }),
});

const ErasedBody = Type.Object({
  cluster: Type.String(),
  eventID: Type.String({ description: 'the event that was asked for' }),
  digest: Type.String({ description: 'SHA-256 of what was there, hex' }),
  erasedAt: Type.String(),
  erasedBy: Type.String(),
  reason: Type.String(),
});

export function erasureRoutes({ server, deps, auth }: Api): void {
  server.get(
    '/v1/erasures',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: ['retention'],
        summary: 'Payloads that were erased, the newest first',
        querystring: Type.Object({
          since: Type.Optional(Type.String({ description: 'RFC 3339, or 90d ago' })),
          until: Type.Optional(Type.String({ description: 'not included' })),
          cursor: Type.Optional(Type.String()),
          limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
        }),
        response: { 200: pageSchema(ErasedBody) },
      },
    },
    ({ query }) =>
      findErasedBodies(
        deps.pool,
        { since: readTime('since', query.since), until: readTime('until', query.until) },
        decodeCursor(query.cursor),
        query.limit ?? 100,
      ),
  );

  server.post(
    '/v1/erasures',
    {
      onRequest: auth.require('admin'),
      schema: {
        tags: ['retention'],
        summary: 'Erase the payload of an event; its envelope and every proof stay',
        description:
          'Erases the bodies of one event, the state after it, and what changes tell of them, in the database and in the archive. Later versions of the object that hold the same value are events of their own.',
        body: Type.Object({
          event: Type.String({ maxLength: 200, description: 'the id of an event, or of a change' }),
          parts: Type.Optional(Type.Array(words(PAYLOAD_PARTS), { minItems: 1 })),
          reason: Type.String({ minLength: 3, maxLength: 1000, pattern: '\\S' }),
        }),
        response: { 200: Erased },
      },
    },
    async (request) => {
      const { event: id, parts = PAYLOAD_PARTS, reason } = request.body;
      const isChange = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id);
      const eventID = isChange ? await findTerminalEvent(deps.pool, id) : id;
      const event = eventID === undefined ? undefined : await findEvent(deps.db, eventID);
      if (!event)
        throw new WhochangedError('not_found', 'no event in the database has this id', {
          hint: 'if it lies in the archive, read it first: `whochanged event ID`',
        });
      const holding =
        event.object_id === null
          ? []
          : await findSegmentsOfObject(deps.pool, event.cluster_id, event.object_id);
      const erasable = new Set(
        (await findErasable(deps.pool, event, parts)).map((digest) => digest.toString('hex')),
      );
      // Before anything is erased: what the archive holds of somebody else's may be the very same body.
      const holds = await findHolds(deps.pool, false);
      for (const segment of deps.archive ? holding : [])
        if (await holdsHeldBody(deps.archive!.reader, event.cluster, segment, erasable, holds))
          throw isHeld();
      const erasure = await eraseBodies(deps.pool, event, parts, request.caller!.name, reason);
      const erased = new Set(erasure.digests.map((digest) => digest.toString('hex')));
      const left: string[] = [];
      let segments = 0;
      for (const segment of holding) {
        const reader = deps.archive?.reader;
        if (!reader) {
          left.push(segment.key);
          continue;
        }
        const client = await deps.pool.connect();
        try {
          const rewritten = await eraseFromSegment(client, reader, event.cluster, segment, erased);
          client.release();
          if (!rewritten) continue;
          segments++;
          if (!rewritten.deleted) left.push(rewritten.key);
        } catch (error) {
          client.release(true);
          request.log.error(
            { err: error, segment: segment.key },
            'a payload could not be erased from the archive',
          );
          left.push(segment.key);
        }
      }
      return { eventID: event.event_id, bodies: erased.size, changes: erasure.changes, segments, left };
    },
  );
}
