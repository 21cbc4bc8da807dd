import { type Static, Type } from 'typebox';
import { stringify } from 'yaml';
import { WhochangedError } from '../../core/errors.js';
import type { ObjectKey } from '../../core/identity.js';
import { resourceOf } from '../../core/resource-names.js';
import { cleanManifest } from '../../core/rollback.js';
import { formatMicros } from '../../core/timestamp.js';
import { CERTAINTIES, EVENT_CLASSES } from '../../core/vocabulary.js';
import { findClusters } from '../../store/queries/change-filter.js';
import { decodeCursor } from '../../store/queries/cursor.js';
import { findHistory, findObjects, findState, type StateRow } from '../../store/queries/objects.js';
import type { Store } from '../../store/tenant.js';
import type { Api } from '../api.js';
import { changeItem, objectItem } from '../change-item.js';
import {
  ArchivedFlag,
  ChangeSchema,
  FieldChangeSchema,
  ObjectSchema,
  pageSchema,
  words,
} from '../change-schema.js';
import { PageQuery } from '../list-query.js';
import { compared, StateSchema, stateItem } from '../object-state.js';
import { readTime } from '../times.js';

const Params = Type.Object({
  cluster: Type.String(),
  group: Type.String({ description: 'core for the core group' }),
  resource: Type.String(),
  namespace: Type.String({ description: '- for cluster-scoped objects' }),
  name: Type.String(),
});

const TAGS = ['objects'];
const BASE = '/v1/objects/:cluster/:group/:resource/:namespace/:name';

/** What applying a former state does besides what its fields say, or may leave undone. */
function effectWarnings(current: StateRow | undefined, undoes: ReturnType<typeof compared>): string[] {
  if (!current || current.deleted) return ['the object does not exist now: applying this creates it anew'];
  if (undoes === null) return ['the object as it is now is not known: nor is what applying this would undo'];
  const came = undoes.filter(({ op }) => op === 'remove').map(({ path }) => path);
  if (came.length === 0) return [];
  // A three-way merge takes away only what its last-applied-configuration, or the field manager, had put there.
  return [
    `${came.join(', ')}: not in this manifest; kubectl replace takes away what is not, kubectl apply only what it had set itself`,
  ];
}

export function objectRoutes({ server, auth }: Api): void {
  const onRequest = auth.requireWithin('reader');

  const locate = async (
    db: Store['db'],
    params: Static<typeof Params>,
  ): Promise<{ clusterID: number; key: ObjectKey }> => {
    const [cluster] = await findClusters(db, [params.cluster]);
    if (!cluster) throw new WhochangedError('not_found', `no cluster is called "${params.cluster}"`);
    const key = {
      apiGroup: params.group === 'core' ? '' : params.group,
      resource: resourceOf(params.resource).resource,
      namespace: params.namespace === '-' ? '' : params.namespace,
      name: params.name,
    };
    return { clusterID: cluster.id, key };
  };
  const stateAt = async (db: Store['db'], params: Static<typeof Params>, at: string) => {
    const { clusterID, key } = await locate(db, params);
    return findState(db, clusterID, key, at);
  };
  const now = () => formatMicros(Date.now() * 1000);

  const ListQuery = Type.Object({
    ...PageQuery,
    cluster: Type.Optional(Type.String()),
    namespace: Type.Optional(Type.String()),
    resource: Type.Optional(Type.String()),
    name: Type.Optional(Type.String()),
  });
  server.get(
    '/v1/objects',
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'Known objects',
        querystring: ListQuery,
        response: { 200: pageSchema(Type.Object({ cluster: Type.String(), object: ObjectSchema })) },
      },
    },
    async (request) => {
      const { db } = auth.storeOf(request);
      const { limit = 50, cursor, resource, ...names } = request.query;
      const filter = { ...names, ...(resource !== undefined && resourceOf(resource)) };
      const page = await findObjects(db, filter, cursor, limit);
      return {
        items: page.items.map(({ cluster, ...row }) => ({ cluster, object: objectItem(row) })),
        next: page.next,
      };
    },
  );

  const HistoryQuery = Type.Object({
    ...PageQuery,
    class: Type.Optional(Type.Union([words(EVENT_CLASSES), Type.Array(words(EVENT_CLASSES))])),
  });
  server.get(
    `${BASE}/history`,
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'Everything that changed an object',
        params: Params,
        querystring: HistoryQuery,
        response: { 200: pageSchema(ChangeSchema) },
      },
    },
    async (request) => {
      const { db } = auth.storeOf(request);
      const { clusterID, key } = await locate(db, request.params);
      const classes = request.query.class === undefined ? undefined : [request.query.class].flat();
      const page = await findHistory(
        db,
        clusterID,
        key,
        classes,
        decodeCursor(request.query.cursor),
        request.query.limit ?? 50,
      );
      return { items: page.items.map(changeItem), next: page.next };
    },
  );

  const StateQuery = Type.Object({
    at: Type.Optional(Type.String()),
    fields: Type.Optional(Type.Boolean({ default: true })),
  });
  server.get(
    `${BASE}/state`,
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'An object as it was at a time',
        params: Params,
        querystring: StateQuery,
        response: { 200: StateSchema },
      },
    },
    async (request) => {
      const { db } = auth.storeOf(request);
      const state = await stateAt(db, request.params, readTime('at', request.query.at) ?? now());
      return stateItem(state, request.query.fields ?? true);
    },
  );

  const CompareQuery = Type.Object({ from: Type.String(), to: Type.Optional(Type.String()) });
  const Compared = Type.Object({
    archived: ArchivedFlag,
    from: StateSchema,
    to: StateSchema,
    diff: Type.Union([Type.Array(FieldChangeSchema), Type.Null()]),
  });
  server.get(
    `${BASE}/compare`,
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'What differs between two times',
        params: Params,
        querystring: CompareQuery,
        response: { 200: Compared },
      },
    },
    async (request) => {
      const { db } = auth.storeOf(request);
      const from = await stateAt(db, request.params, readTime('from', request.query.from)!);
      const to = await stateAt(db, request.params, readTime('to', request.query.to) ?? now());
      return { from: stateItem(from, false), to: stateItem(to, false), diff: compared(from, to) };
    },
  );

  const RollbackQuery = Type.Object({
    to: Type.String({ description: 'a time; the manifest is the state then' }),
  });
  const Rollback = Type.Object({
    manifest: Type.String({ description: 'YAML' }),
    certainty: words(CERTAINTIES),
    at: Type.String({ description: 'when the version was written that the manifest is' }),
    change: Type.String({ description: 'by which change' }),
    undoes: Type.Union([Type.Array(FieldChangeSchema), Type.Null()]),
    warnings: Type.Array(Type.String()),
  });
  server.get(
    `${BASE}/rollback`,
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'A former state as a manifest to apply',
        params: Params,
        querystring: RollbackQuery,
        response: { 200: Rollback },
      },
    },
    async (request, reply) => {
      const { db } = auth.storeOf(request);
      const at = readTime('to', request.query.to)!;
      const then = await stateAt(db, request.params, at);
      if (!then?.object || then.deleted) {
        throw new WhochangedError(
          'not_found',
          then?.deleted ? `the object did not exist at ${at}` : `no state is recorded at ${at}`,
          { hint: 'its history tells the times of which a state is known' },
        );
      }
      const { object, warnings } = cleanManifest(then.object);
      if (then.certainty !== 'exact')
        warnings.unshift(
          `the state at ${at} is ${then.certainty}, not seen in whole: look at its fields before you apply it`,
        );
      const current = await stateAt(db, request.params, now());
      const undoes = compared(current, then);
      warnings.push(...effectWarnings(current, undoes));
      const manifest = stringify(object, { lineWidth: 0 });
      if (/yaml/.test(request.headers.accept ?? '')) {
        const comments = warnings.map((warning) => `# ${warning.replaceAll(/\s+/g, ' ')}\n`).join('');
        return reply.type('application/yaml').send((comments + manifest) as never);
      }
      return { manifest, certainty: then.certainty, at: then.at, change: then.change_id, undoes, warnings };
    },
  );
}
