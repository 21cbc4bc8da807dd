import { Type } from 'typebox';
import { WhochangedError } from '../../core/errors.js';
import { formatMicros } from '../../core/timestamp.js';
import { importTickets } from '../../store/facts/imports.js';
import { findTicketHistory, findTickets, type TicketState } from '../../store/queries/change-tickets.js';
import { decodeCursor } from '../../store/queries/cursor.js';
import type { Api } from '../api.js';
import { pageSchema, words } from '../change-schema.js';
import { IMPORT_BODY_BYTES, ImportedSchema, TicketsBody, ticketShape } from '../import-schema.js';
import { PageQuery } from '../list-query.js';
import { PersonSchema } from '../person-schema.js';
import { readTime } from '../times.js';

const TAGS = ['tickets'];
const Ticket = Type.Object({
  system: Type.String(),
  id: Type.String(),
  kind: words(['standard', 'normal', 'emergency', 'incident'] as const),
  state: Type.String({ description: "the system's own word" }),
  approved: Type.Boolean(),
  approvers: Type.Array(Type.Object({ person: PersonSchema, approvedAt: Type.Optional(Type.String()) })),
  windowStart: Type.Optional(Type.String()),
  windowEnd: Type.Optional(Type.String()),
  configurationItems: Type.Array(Type.String()),
  requestedBy: Type.Optional(PersonSchema),
  url: Type.Optional(Type.String()),
  reviewedBy: Type.Optional(PersonSchema),
  reviewedAt: Type.Optional(Type.String()),
  seenAt: Type.String({ description: 'when it was told so' }),
  updatedAt: Type.Optional(Type.String({ description: "by the system's own clock" })),
});

function ticketItem({ ticket, seenAt, updatedAt }: TicketState) {
  const { windowStart, windowEnd, reviewedAt, approvers, ...rest } = ticket;
  return {
    ...rest,
    approvers: approvers.map(({ person, approvedAt }) => ({
      person,
      ...(approvedAt !== undefined && { approvedAt: formatMicros(approvedAt) }),
    })),
    ...(windowStart !== undefined && { windowStart: formatMicros(windowStart) }),
    ...(windowEnd !== undefined && { windowEnd: formatMicros(windowEnd) }),
    ...(reviewedAt !== undefined && { reviewedAt: formatMicros(reviewedAt) }),
    seenAt,
    ...(updatedAt !== null && { updatedAt }),
  };
}

const Query = Type.Object({
  ...PageQuery,
  system: Type.Optional(Type.String()),
  item: Type.Optional(Type.String({ description: 'a configuration item, exact' })),
  at: Type.Optional(Type.String({ description: 'only those whose window covers this time' })),
});

export function ticketRoutes({ server, deps, auth }: Api): void {
  server.get(
    '/v1/tickets',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: TAGS,
        summary: 'Change tickets as last told, the last seen first',
        querystring: Query,
        response: { 200: pageSchema(Ticket) },
      },
    },
    async ({ query }) => {
      const at = readTime('at', query.at);
      const filter = {
        ...(query.system && { system: query.system }),
        ...(query.item && { item: query.item }),
        ...(at !== undefined && { at }),
      };
      const page = await findTickets(deps.pool, filter, decodeCursor(query.cursor), query.limit ?? 50);
      return { items: page.items.map(ticketItem), next: page.next };
    },
  );

  server.get(
    '/v1/tickets/:id',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: TAGS,
        summary: 'Every state that a ticket was seen in, the oldest first',
        params: Type.Object({ id: Type.String({ maxLength: 500 }) }),
        querystring: Type.Object({ system: Type.Optional(Type.String()) }),
        response: { 200: Type.Object({ items: Type.Array(Ticket) }) },
      },
    },
    async ({ params, query }) => {
      const states = await findTicketHistory(deps.pool, params.id, query.system);
      if (states.length === 0)
        throw new WhochangedError('not_found', `no ticket ${params.id} was imported`, {
          hint: 'see `whochanged ticket list`',
        });
      return { items: states.map(ticketItem) };
    },
  );

  server.post(
    '/v1/tickets/import',
    {
      bodyLimit: IMPORT_BODY_BYTES,
      onRequest: auth.require('admin'),
      schema: {
        tags: TAGS,
        summary: 'Import tickets of ServiceNow or Jira; a bad one costs no other',
        body: TicketsBody,
        response: { 200: ImportedSchema },
      },
    },
    async ({ body }) => (await importTickets(deps.pool, body.items, ticketShape(body), new Date()))!,
  );
}
