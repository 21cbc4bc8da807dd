import { type Static, Type } from 'typebox';
import { WhochangedError } from '../../core/errors.js';
import { ROLES } from '../../core/vocabulary.js';
import { createApiToken, findApiTokens, revokeApiToken } from '../../store/api-tokens.js';
import type { Api } from '../api.js';
import { words } from '../change-schema.js';
import { readTime } from '../times.js';

const Time = Type.Union([Type.String(), Type.Null()]);
const Names = Type.Union([Type.Array(Type.String()), Type.Null()], { description: 'null: all' });
const Token = Type.Object({
  id: Type.Integer(),
  name: Type.String(),
  role: words(ROLES),
  clusters: Names,
  namespaces: Names,
  createdAt: Type.String(),
  expiresAt: Time,
  revokedAt: Time,
  lastUsedAt: Type.Union([Type.String(), Type.Null()], { description: 'to the minute' }),
});
const TAGS = ['tokens'];

export function tokenRoutes({ server, deps, auth }: Api): void {
  const onRequest = auth.require('admin');
  const list = async (): Promise<Static<typeof Token>[]> =>
    (await findApiTokens(deps.db)).map((row) => ({
      id: row.id,
      name: row.name,
      role: row.role,
      clusters: row.clusters,
      namespaces: row.namespaces,
      createdAt: row.created_at,
      expiresAt: row.expires_at,
      revokedAt: row.revoked_at,
      lastUsedAt: row.last_used_at,
    }));

  server.get(
    '/v1/tokens',
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'API tokens',
        response: { 200: Type.Object({ items: Type.Array(Token) }) },
      },
    },
    async () => ({ items: await list() }),
  );

  const Create = Type.Object({
    name: Type.String({ minLength: 1, maxLength: 100 }),
    role: words(ROLES),
    clusters: Type.Optional(
      Type.Array(Type.String({ minLength: 1, pattern: '^[^,/]+$' }), {
        minItems: 1,
        description: 'the token sees these clusters only; all where it is left out',
      }),
    ),
    namespaces: Type.Optional(
      Type.Array(Type.String({ minLength: 1, pattern: '^[a-z0-9-]+$' }), {
        minItems: 1,
        description: 'the token sees these namespaces only; all where it is left out',
      }),
    ),
    expiresAt: Type.Optional(Type.String({ description: 'RFC 3339' })),
  });
  server.post(
    '/v1/tokens',
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'A new token',
        body: Create,
        response: { 201: Type.Object({ token: Type.String({ description: 'shown this once' }) }) },
      },
    },
    async ({ body }, reply) => {
      const expiresAt = readTime('expiresAt', body.expiresAt);
      const token = await createApiToken(deps.pool, {
        name: body.name,
        role: body.role,
        ...(body.clusters && { clusters: body.clusters }),
        ...(body.namespaces && { namespaces: body.namespaces }),
        ...(expiresAt !== undefined && { expiresAt }),
      });
      return reply.code(201).send({ token });
    },
  );

  server.delete(
    '/v1/tokens/:id',
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'Revoke a token',
        params: Type.Object({ id: Type.Integer() }),
        response: { 204: Type.Null() },
      },
    },
    async ({ params }, reply) => {
      if (!(await revokeApiToken(deps.db, params.id)))
        throw new WhochangedError('not_found', `no valid token has the id ${params.id}`);
      auth.forget();
      return reply.code(204).send(null);
    },
  );
}
