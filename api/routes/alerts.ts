import { type Static, Type } from 'typebox';
import { END_REASONS, NOTICES } from '../../core/alerts/payload.js';
import { SEVERITIES, SUBJECTS } from '../../core/alerts/rule.js';
import { WhochangedError } from '../../core/errors.js';
import {
  type AlertRow,
  ackAlert,
  DELIVERY_STATES,
  findAlert,
  findAlerts,
  findDeliveries,
} from '../../store/queries/alerts.js';
import { decodeCursor } from '../../store/queries/cursor.js';
import type { Api } from '../api.js';
import { pageSchema, words } from '../change-schema.js';
import { listOf, many, PageQuery } from '../list-query.js';
import { readTime } from '../times.js';

const TAGS = ['alerts'];
const ID = Type.Object({ id: Type.String({ pattern: '^[0-9]{1,18}$' }) });

export const AlertSchema = Type.Object({
  id: Type.String(),
  cluster: Type.String(),
  rule: Type.String(),
  title: Type.String(),
  severity: words(SEVERITIES),
  subject: words(SUBJECTS),
  message: Type.String({ description: 'of the first match' }),
  firstAt: Type.String({ description: 'when what matched happened first' }),
  lastAt: Type.String(),
  matches: Type.Integer({ description: 'equal ones within the rule’s window' }),
  raisedAt: Type.String(),
  namespace: Type.Optional(Type.String()),
  object: Type.Optional(Type.String()),
  username: Type.Optional(Type.String()),
  change: Type.Optional(Type.String()),
  eventID: Type.Optional(Type.String()),
  gap: Type.Optional(Type.String()),
  source: Type.Optional(Type.String()),
  endedAt: Type.Optional(Type.String({ description: 'that is over which it is about: `endReason`' })),
  endReason: Type.Optional(words(END_REASONS)),
  acked: Type.Optional(
    Type.Object({ at: Type.String(), by: Type.String(), note: Type.Optional(Type.String()) }),
  ),
});
export type AlertItem = Static<typeof AlertSchema>;

function alertItem(row: AlertRow): AlertItem {
  return {
    id: row.id,
    cluster: row.cluster,
    rule: row.rule,
    title: row.title,
    severity: row.severity,
    subject: row.subject,
    message: row.message,
    firstAt: row.first_at,
    lastAt: row.last_at,
    matches: row.matches,
    raisedAt: row.raised_at,
    ...(row.namespace !== null && { namespace: row.namespace }),
    ...(row.object !== null && { object: row.object }),
    ...(row.username !== null && { username: row.username }),
    ...(row.change_id !== null && { change: row.change_id }),
    ...(row.event_id !== null && { eventID: row.event_id }),
    ...(row.gap_id !== null && { gap: row.gap_id }),
    ...(row.source !== null && { source: row.source }),
    ...(row.ended_at !== null && { endedAt: row.ended_at }),
    ...(row.end_reason !== null && { endReason: row.end_reason }),
    ...(row.acked_at !== null && {
      acked: { at: row.acked_at, by: row.acked_by!, ...(row.ack_note !== null && { note: row.ack_note }) },
    }),
  };
}

const DeliverySchema = Type.Object({
  alert: Type.String(),
  cluster: Type.String(),
  rule: Type.String(),
  raisedAt: Type.String(),
  receiver: Type.String(),
  notice: words(NOTICES),
  state: words(DELIVERY_STATES),
  attempts: Type.Integer(),
  dueAt: Type.Optional(Type.String({ description: 'when it is tried next' })),
  settledAt: Type.Optional(Type.String()),
  tries: Type.Array(
    Type.Object({
      attempt: Type.Integer(),
      at: Type.String(),
      tookMs: Type.Integer(),
      status: Type.Union([Type.Integer(), Type.Null()]),
      error: Type.Union([Type.String(), Type.Null()], { description: 'null: the receiver has it' }),
    }),
    { description: 'the last ones, the latest first' },
  ),
});

export function alertRoutes({ server, deps, auth }: Api): void {
  const within = auth.requireWithin('reader');

  server.get(
    '/v1/alerts',
    {
      onRequest: within,
      schema: {
        tags: TAGS,
        summary: 'Alerts, those raised last first',
        querystring: Type.Object({
          ...PageQuery,
          cluster: many(Type.String()),
          namespace: many(Type.String()),
          rule: many(Type.String()),
          severity: Type.Optional(Type.Union([words(SEVERITIES), Type.Array(words(SEVERITIES))])),
          acked: Type.Optional(Type.Boolean({ description: 'whether somebody has seen to it' })),
          since: Type.Optional(Type.String({ description: 'raised: RFC 3339, or 30m, 2h, 7d ago' })),
          until: Type.Optional(Type.String({ description: 'not included' })),
        }),
        response: { 200: pageSchema(AlertSchema) },
      },
    },
    async (request) => {
      const { query } = request;
      const filter = {
        clusters: listOf(query.cluster),
        namespaces: listOf(query.namespace),
        rules: listOf(query.rule),
        severities: listOf(query.severity),
        acked: query.acked,
        since: readTime('since', query.since),
        until: readTime('until', query.until),
      };
      const { db } = auth.storeOf(request);
      const page = await findAlerts(db, filter, decodeCursor(query.cursor), query.limit ?? 50);
      return { items: page.items.map(alertItem), next: page.next };
    },
  );

  server.get(
    '/v1/alerts/:id',
    {
      onRequest: within,
      schema: { tags: TAGS, summary: 'One alert', params: ID, response: { 200: AlertSchema } },
    },
    async (request) => alertItem((await findAlert(auth.storeOf(request).db, request.params.id)) ?? missing()),
  );

  server.post(
    '/v1/alerts/:id/ack',
    {
      onRequest: auth.require('operator'),
      schema: {
        tags: TAGS,
        summary: 'Note that somebody has seen to it; the first note stays',
        params: ID,
        body: Type.Object({ note: Type.Optional(Type.String({ maxLength: 2000 })) }),
        response: { 200: AlertSchema },
      },
    },
    async ({ params, body, caller }) => {
      await ackAlert(deps.db, params.id, caller!.name, body.note);
      return alertItem((await findAlert(deps.db, params.id)) ?? missing());
    },
  );

  server.get(
    '/v1/alert-deliveries',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: TAGS,
        summary: 'Who was told of which alert, and what came of each attempt',
        querystring: Type.Object({
          ...PageQuery,
          alert: Type.Optional(Type.String({ pattern: '^[0-9]{1,18}$' })),
          state: Type.Optional(words(DELIVERY_STATES)),
          receiver: Type.Optional(Type.String()),
        }),
        response: { 200: pageSchema(DeliverySchema) },
      },
    },
    async ({ query }) => {
      const filter = { alertID: query.alert, state: query.state, receiver: query.receiver };
      const page = await findDeliveries(deps.db, filter, decodeCursor(query.cursor), query.limit ?? 50);
      return {
        items: page.items.map((row) => ({
          alert: row.alert_id,
          cluster: row.cluster,
          rule: row.rule,
          raisedAt: row.raised_at,
          receiver: row.receiver,
          notice: row.notice,
          state: row.state,
          attempts: row.attempts,
          ...(row.state === 'due' && { dueAt: row.due_at }),
          ...(row.settled_at !== null && { settledAt: row.settled_at }),
          tries: row.tries,
        })),
        next: page.next,
      };
    },
  );
}

function missing(): never {
  throw new WhochangedError('not_found', 'no alert has this id', {
    hint: '`whochanged alert list` tells ids',
  });
}
