import { Type } from 'typebox';
import { findHostStatus, type HostStatus } from '../../store/queries/hosts.js';
import type { Api } from '../api.js';
import { words } from '../change-schema.js';

const Time = Type.Union([Type.String(), Type.Null()]);
const STATES = ['ok', 'waiting', 'failing', 'never', 'no_credential', 'disabled'] as const;
const Status = Type.Object({
  repo: Type.String(),
  host: words(['github', 'gitlab', 'gerrit'] as const),
  project: Type.String(),
  apiURL: Time,
  state: words(STATES),
  syncedAt: Type.Union([Type.String(), Type.Null()], {
    description: 'all that the host knew then is imported',
  }),
  attemptedAt: Time,
  nextAt: Type.Union([Type.String(), Type.Null()], {
    description: 'not before: it failed, or the host limits requests',
  }),
  failures: Type.Integer({ description: 'in a row' }),
  error: Time,
  due: Type.Integer({ description: 'pull requests that are named and not yet fetched' }),
  limits: Type.Array(Type.String(), { description: 'what the credential may not see' }),
  lastDeliveryAt: Type.Union([Type.String(), Type.Null()], { description: 'the last webhook' }),
});

function stateOf(row: HostStatus): (typeof STATES)[number] {
  if (row.disabled_at !== null) return 'disabled';
  if (!row.has_credential) return 'no_credential';
  if (row.failures > 0) return 'failing';
  if (row.next_at !== null && Date.parse(row.next_at) > Date.now()) return 'waiting';
  return row.synced_at === null ? 'never' : 'ok';
}

export function hostRoutes({ server, deps, auth }: Api): void {
  server.get(
    '/v1/hosts',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: ['hosts'],
        summary: 'Where each repository stands with its host',
        response: { 200: Type.Object({ items: Type.Array(Status) }) },
      },
    },
    async () => ({
      items: (await findHostStatus(deps.pool)).map((row) => ({
        repo: row.repo,
        host: row.host as 'github' | 'gitlab' | 'gerrit',
        project: row.project,
        apiURL: row.api_url,
        state: stateOf(row),
        syncedAt: row.synced_at,
        attemptedAt: row.attempted_at,
        nextAt: row.next_at,
        failures: row.failures,
        error: row.error,
        due: row.due,
        limits: row.limits,
        lastDeliveryAt: row.last_delivery_at,
      })),
    }),
  );
}
