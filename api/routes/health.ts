import { sql } from 'kysely';
import { Type } from 'typebox';
import { WhochangedError } from '../../core/errors.js';
import type { Api } from '../api.js';

const TAGS = ['operation'];

export function healthRoutes({ server, deps, auth }: Api): void {
  server.get(
    '/healthz',
    {
      schema: {
        tags: TAGS,
        summary: 'The process is alive',
        security: [],
        response: { 200: Type.Object({ status: Type.Literal('ok') }) },
      },
    },
    async () => ({ status: 'ok' as const }),
  );

  server.get(
    '/readyz',
    {
      schema: {
        tags: TAGS,
        summary: 'Questions can be answered',
        security: [],
        response: { 200: Type.Object({ status: Type.Literal('ok') }) },
      },
    },
    async () => {
      try {
        await sql`select 1`.execute(deps.db);
      } catch (cause) {
        throw new WhochangedError('store_unavailable', 'Postgres is away', { retryAfter: 5, cause });
      }
      return { status: 'ok' as const };
    },
  );

  server.get(
    '/metrics',
    { onRequest: auth.require('reader'), schema: { tags: TAGS, summary: 'Prometheus metrics' } },
    async (_request, reply) => {
      reply.type(deps.registry.contentType);
      return deps.registry.metrics();
    },
  );

  const Run = Type.Object({
    job: Type.String(),
    startedAt: Type.String(),
    finishedAt: Type.String(),
    rows: Type.Integer(),
    error: Type.Union([Type.String(), Type.Null()]),
  });
  const Status = Type.Object({
    version: Type.String(),
    roles: Type.Array(Type.String()),
    spool: Type.Union([Type.Object({ bytes: Type.Integer() }), Type.Null()]),
    jobs: Type.Array(Run, { description: 'the last run of each job' }),
  });
  server.get(
    '/v1/status',
    {
      onRequest: auth.require('reader'),
      schema: { tags: TAGS, summary: 'This process and the jobs', response: { 200: Status } },
    },
    async () => {
      const runs = await deps.db
        .selectFrom('job_runs')
        .distinctOn('job')
        .selectAll()
        .orderBy('job')
        .orderBy('started_at', 'desc')
        .execute();
      return {
        version: deps.version,
        roles: deps.roles,
        spool: deps.spoolStatus?.() ?? null,
        jobs: runs.map((run) => ({
          job: run.job,
          startedAt: run.started_at,
          finishedAt: run.finished_at,
          rows: Number(run.rows),
          error: run.error,
        })),
      };
    },
  );

  server.post(
    '/v1/jobs/:name/run',
    {
      onRequest: auth.require('operator'),
      schema: {
        tags: TAGS,
        summary: 'Run a job now',
        params: Type.Object({ name: Type.String() }),
        response: { 200: Type.Unknown() },
      },
    },
    async ({ params }) => {
      if (!deps.runJob)
        throw new WhochangedError('conflict', 'this process does not run jobs', {
          hint: 'ask one that runs the role jobs',
        });
      return deps.runJob(params.name);
    },
  );
}
