import { Type } from 'typebox';
import { findAppliedPolicies } from '../../store/archive/progress.js';
import { findSegmentTotals } from '../../store/archive/segments.js';
import type { Api } from '../api.js';

const Retention = Type.Object({
  policies: Type.Array(
    Type.Object({
      version: Type.Integer(),
      policy: Type.String({ description: 'CLASS=DAYSd with commas; empty: nothing leaves' }),
      appliedAt: Type.String(),
    }),
    { description: 'as they were followed, the newest first: the one in force' },
  ),
  segments: Type.Array(
    Type.Object({
      cluster: Type.String(),
      state: Type.String(),
      segments: Type.Integer(),
      events: Type.Integer(),
      bytes: Type.Integer({ description: 'of their files' }),
      since: Type.String(),
      until: Type.String(),
      error: Type.Union([Type.String(), Type.Null()], { description: 'why one of them does not go on' }),
    }),
    { description: 'what went to the archive, by cluster and state' },
  ),
});

export function retentionRoutes({ server, deps, auth }: Api): void {
  server.get(
    '/v1/retention',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: ['retention'],
        summary: 'Which policy is followed, and what lies in the archive',
        response: { 200: Retention },
      },
    },
    async () => ({
      policies: await findAppliedPolicies(deps.pool),
      segments: await findSegmentTotals(deps.pool),
    }),
  );
}
