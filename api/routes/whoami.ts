import { Type } from 'typebox';
import { CALLER_KINDS } from '../../core/access/grants.js';
import { findTokenUse } from '../../store/api-tokens.js';
import type { Api } from '../api.js';
import { words } from '../change-schema.js';
import { GrantSchema } from './access-events.js';

/** Who the caller is to us, and what that allows. */
export function whoamiRoutes({ server, deps, auth }: Api): void {
  server.get(
    '/v1/whoami',
    {
      onRequest: auth.requireIdentity(),
      schema: {
        tags: ['access'],
        summary: 'Who you are here, by what, and what you may do',
        response: {
          200: Type.Object({
            name: Type.String(),
            kind: words(CALLER_KINDS),
            groups: Type.Array(Type.String()),
            grants: Type.Array(GrantSchema, { description: 'they add up; none: nothing is granted' }),
            expiresAt: Type.Union([Type.String(), Type.Null()], {
              description: 'when the credential ends; null: it does not, or that is not known',
            }),
            lastUsedAt: Type.Union([Type.String(), Type.Null()], {
              description: 'of a token of this server, to the minute',
            }),
          }),
        },
      },
    },
    async (request) => {
      const { name, kind, groups, grants, expiresAt, tokenID } = request.caller!;
      return {
        name,
        kind,
        groups,
        grants,
        expiresAt: expiresAt === undefined ? null : new Date(expiresAt).toISOString(),
        lastUsedAt: tokenID === undefined ? null : await findTokenUse(deps.db, tokenID),
      };
    },
  );
}
