import { type Static, Type } from 'typebox';
import { ENGINES } from '../../core/drift/application-drift.js';
import { findDrift } from '../../store/drift.js';
import { type ApplicationFilter, findApplications } from '../../store/queries/applications.js';
import { decodeCursor } from '../../store/queries/cursor.js';
import { findApplicationState } from '../../store/queries/drift.js';
import { Graphs } from '../../store/verdicts/repositories.js';
import type { Api } from '../api.js';
import { pageSchema, words } from '../change-schema.js';
import { ApplicationSchema, applicationItem, DriftSchema, driftItem } from '../drift-schema.js';
import { listOf, many } from '../list-query.js';

const TAGS = ['drift'];
const FilterQuery = {
  cluster: many(Type.String()),
  namespace: many(Type.String({ description: 'of the application itself' })),
  name: many(Type.String()),
  engine: Type.Optional(Type.Union([words(ENGINES), Type.Array(words(ENGINES))])),
  cursor: Type.Optional(Type.String()),
};
type Filters = Static<ReturnType<typeof Type.Object<typeof FilterQuery>>>;

function readFilter(query: Filters): ApplicationFilter {
  return {
    clusters: listOf(query.cluster),
    namespaces: listOf(query.namespace),
    names: listOf(query.name),
    engines: listOf(query.engine),
  };
}

export function driftRoutes({ server, deps, auth }: Api): void {
  const onRequest = auth.requireWithin('reader');
  const graphs = deps.judging.graphs ?? new Graphs();

  server.get(
    '/v1/applications',
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'What GitOps controllers deploy: Applications, Kustomizations and HelmReleases, by name',
        querystring: Type.Object({
          ...FilterQuery,
          limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200 })),
        }),
        response: { 200: pageSchema(ApplicationSchema) },
      },
    },
    async (request) => {
      const { db } = auth.storeOf(request);
      const { query } = request;
      const page = await findApplications(
        db,
        readFilter(query),
        decodeCursor(query.cursor),
        query.limit ?? 50,
      );
      const items = [];
      for (const row of page.items) items.push(applicationItem(row, await findApplicationState(db, row)));
      return { items, next: page.next };
    },
  );

  server.get(
    '/v1/drift',
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'What runs that git does not say, and what git says that does not run, by application',
        querystring: Type.Object({
          ...FilterQuery,
          limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 50 })),
        }),
        response: { 200: pageSchema(DriftSchema) },
      },
    },
    async (request) => {
      const { db } = auth.storeOf(request);
      const { query } = request;
      const { policy } = await deps.judging.policy();
      const page = await findApplications(
        db,
        readFilter(query),
        decodeCursor(query.cursor),
        query.limit ?? 20,
      );
      // Repositories are no tenant's to see.
      const means = request.tenant ? undefined : { pool: deps.pool, git: deps.judging.git, graphs };
      const items = [];
      for (const row of page.items)
        items.push(driftItem(row, await findDrift(db, row, policy, means, Date.now() * 1000)));
      return { items, next: page.next };
    },
  );
}
