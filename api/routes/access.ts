import { type Static, Type } from 'typebox';
import { findChanges } from '../../store/queries/changes.js';
import { decodeCursor } from '../../store/queries/cursor.js';
import type { Api } from '../api.js';
import { changeItem } from '../change-item.js';
import { readFilter } from '../change-query.js';
import { type ChangeItem, ChangeSchema, pageSchema } from '../change-schema.js';
import { PageQuery } from '../list-query.js';

const Query = Type.Object({
  ...PageQuery,
  cluster: Type.Optional(Type.String()),
  namespace: Type.Optional(Type.String()),
  name: Type.Optional(Type.String()),
  actor: Type.Optional(Type.String()),
  since: Type.Optional(Type.String()),
  until: Type.Optional(Type.String()),
  all: Type.Optional(
    Type.Boolean({ description: 'also what was refused; also reads by built-in controllers' }),
  ),
});

const AccessSchema = Type.Object({
  ...ChangeSchema.properties,
  container: Type.Optional(Type.String()),
  command: Type.Optional(Type.Array(Type.String())),
});

/** The container and command that exec and attach carry in their query (core/v1 PodExecOptions). */
function accessItem(item: ChangeItem): Static<typeof AccessSchema> {
  const at = item.requestURI.indexOf('?');
  const query = new URLSearchParams(at < 0 ? '' : item.requestURI.slice(at + 1));
  const container = query.get('container');
  const command = query.getAll('command');
  return { ...item, ...(container && { container }), ...(command.length > 0 && { command }) };
}

const ACCESS_SUBRESOURCES = ['exec', 'attach', 'portforward', 'proxy', 'ephemeralcontainers'];

export function accessRoutes({ server, auth }: Api): void {
  const onRequest = auth.requireWithin('reader');

  server.get(
    '/v1/access',
    {
      onRequest,
      schema: {
        tags: ['access'],
        summary: 'Interactive access: exec, attach, port-forward, proxy, debug',
        querystring: Query,
        response: { 200: pageSchema(AccessSchema) },
      },
    },
    async (request) => {
      const { db } = auth.storeOf(request);
      const { query } = request;
      const { limit = 50, cursor, all: withRefused, ...rest } = query;
      const filter = {
        ...readFilter(rest),
        classes: withRefused ? ['access' as const, 'rejected' as const] : ['access' as const],
        ...(withRefused && { subresources: ACCESS_SUBRESOURCES }),
      };
      const page = await findChanges(db, {
        filter,
        all: false,
        ascending: false,
        after: decodeCursor(cursor),
        limit,
      });
      return { items: page.items.map(changeItem).map(accessItem), next: page.next };
    },
  );

  server.get(
    '/v1/secret-reads',
    {
      onRequest,
      schema: {
        tags: ['access'],
        summary: 'Who read Secrets',
        querystring: Query,
        response: { 200: pageSchema(ChangeSchema) },
      },
    },
    async (request) => {
      const { db } = auth.storeOf(request);
      const { query } = request;
      const { limit = 50, cursor, all: withControllers, ...rest } = query;
      const filter = {
        ...readFilter(rest),
        classes: ['secret_read' as const],
        withoutControllers: !withControllers,
      };
      const page = await findChanges(db, {
        filter,
        all: false,
        ascending: false,
        after: decodeCursor(cursor),
        limit,
      });
      return { items: page.items.map(changeItem), next: page.next };
    },
  );
}
