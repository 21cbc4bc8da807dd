import { Type } from 'typebox';
import { STAGES } from '../../core/audit-event.js';
import { WhochangedError } from '../../core/errors.js';
import { EVENT_CLASSES } from '../../core/vocabulary.js';
import { findErasedParts, PAYLOAD_PARTS, withErased } from '../../store/erasures.js';
import { findClusters } from '../../store/queries/change-filter.js';
import { decodeCursor } from '../../store/queries/cursor.js';
import { type EventRow, findEvent, findEvents, findRawEvent, recordOf } from '../../store/queries/events.js';
import { findFindings } from '../../store/queries/findings.js';
import type { Api } from '../api.js';
import { actorItem, objectItem } from '../change-item.js';
import { ActorSchema, ArchivedFlag, ObjectSchema, pageSchema, words } from '../change-schema.js';
import { PageQuery } from '../list-query.js';
import { readTime } from '../times.js';

const EventSchema = Type.Object({
  eventID: Type.String(),
  at: Type.String(),
  stageAt: Type.String(),
  cluster: Type.String(),
  source: Type.String(),
  stage: words(STAGES),
  level: Type.String(),
  class: words(EVENT_CLASSES),
  verb: Type.String(),
  code: Type.Optional(Type.Integer()),
  auditID: Type.String(),
  requestURI: Type.String(),
  actor: ActorSchema,
  object: Type.Optional(ObjectSchema),
  change: Type.String({ description: 'the id of the request, and of its change if it made one' }),
});

function eventItem(row: EventRow) {
  return {
    eventID: row.event_id,
    at: row.at,
    stageAt: row.stage_at,
    cluster: row.cluster,
    source: row.source,
    stage: row.stage,
    level: row.level,
    class: row.class,
    verb: row.verb,
    ...(row.code !== null && { code: row.code }),
    auditID: row.audit_id,
    requestURI: row.request_uri,
    actor: actorItem(row),
    ...(row.resource !== null && {
      object: objectItem({
        api_group: row.api_group ?? '',
        resource: row.resource,
        namespace: row.namespace ?? '',
        name: row.name ?? '',
        subresource: row.object_ref?.subresource ?? null,
      }),
    }),
    change: row.request_id,
  };
}

const TAGS = ['events'];

export function eventRoutes({ server, deps, auth }: Api): void {
  const onRequest = auth.requireWithin('reader');
  const Query = Type.Object({
    ...PageQuery,
    cluster: Type.Optional(Type.String({ description: 'needed where there are several' })),
    auditID: Type.Optional(Type.String()),
    class: Type.Optional(Type.Union([words(EVENT_CLASSES), Type.Array(words(EVENT_CLASSES))])),
    stage: Type.Optional(words(STAGES)),
    since: Type.Optional(Type.String()),
    until: Type.Optional(Type.String()),
  });

  server.get(
    '/v1/events',
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'Audit events, newest first',
        querystring: Query,
        response: { 200: pageSchema(EventSchema) },
      },
    },
    async (request) => {
      const { db } = auth.storeOf(request);
      const { query } = request;
      const [cluster, ...others] = await findClusters(
        db,
        query.cluster === undefined ? undefined : [query.cluster],
      );
      if (!cluster) return { items: [], next: null };
      if (others.length > 0)
        throw new WhochangedError('invalid_request', 'cluster: there are several; name one');
      const since = readTime('since', query.since);
      const until = readTime('until', query.until);
      const filter = {
        ...(query.auditID !== undefined && { auditID: query.auditID }),
        ...(query.class !== undefined && { classes: [query.class].flat() }),
        ...(query.stage !== undefined && { stage: query.stage }),
        ...(since !== undefined && { since }),
        ...(until !== undefined && { until }),
      };
      const page = await findEvents(db, cluster.id, filter, decodeCursor(query.cursor), query.limit ?? 50);
      return { items: page.items.map(eventItem), next: page.next };
    },
  );

  const One = Type.Object({
    ...EventSchema.properties,
    archived: ArchivedFlag,
    digest: Type.String({ description: 'SHA-256 of the canonical redacted event' }),
    digestVerified: Type.Boolean({
      description: 'what is stored still has that digest, its bodies included',
    }),
    erased: Type.Optional(
      Type.Array(Type.Object({ part: words(PAYLOAD_PARTS), erasedAt: Type.String() }), {
        description: 'bodies that were erased lawfully; their digests, and every proof, stay',
      }),
    ),
    raw: Type.Unknown({
      description:
        'the redacted audit.k8s.io Event; a body that was erased is told by its SHA-256 in whochanged/erased',
    }),
  });
  server.get(
    '/v1/events/:eventID',
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'One event with its redacted original',
        params: Type.Object({ eventID: Type.String() }),
        response: { 200: One },
      },
    },
    async (request) => {
      const { db } = auth.storeOf(request);
      const { params } = request;
      const row = await findEvent(db, params.eventID);
      if (!row) throw new WhochangedError('not_found', 'no event has this id');
      const erased = await findErasedParts(deps.pool, row);
      const { event, digestVerified } = await findRawEvent(db, row, erased);
      return {
        ...eventItem(row),
        digest: row.digest.toString('hex'),
        digestVerified,
        ...(erased.length > 0 && { erased: erased.map(({ part, erasedAt }) => ({ part, erasedAt })) }),
        raw: withErased(recordOf(event), erased),
      };
    },
  );

  const Finding = Type.Object({
    id: Type.String(),
    cluster: Type.Union([Type.String(), Type.Null()]),
    repo: Type.Union([Type.String(), Type.Null()], {
      description: 'of a repository, which is in no cluster',
    }),
    kind: Type.String(),
    at: Type.String(),
    foundAt: Type.String(),
    subject: Type.String(),
    detail: Type.Unknown(),
  });
  server.get(
    '/v1/findings',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: TAGS,
        summary: 'What looks wrong in the evidence itself',
        querystring: Type.Object(PageQuery),
        response: { 200: pageSchema(Finding) },
      },
    },
    async (request) => {
      const { db } = auth.storeOf(request);
      const { query } = request;
      const page = await findFindings(db, decodeCursor(query.cursor), query.limit ?? 50);
      return {
        items: page.items.map((row) => ({
          id: row.id,
          cluster: row.cluster,
          repo: row.repo,
          kind: row.kind,
          at: row.at,
          foundAt: row.found_at,
          subject: row.subject,
          detail: row.detail,
        })),
        next: page.next,
      };
    },
  );
}
