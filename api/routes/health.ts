import { sql } from 'kysely';
import { Type } from 'typebox';
import { WhochangedError } from '../../core/errors.js';
import { findLogStatus } from '../../store/log/checkpoints.js';
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

  const Time = Type.Union([Type.String(), Type.Null()]);
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
    log: Type.Object({
      leaves: Type.Integer({ description: 'records that have their place in the proof log' }),
      signedLeaves: Type.Integer({ description: 'those under the newest checkpoint' }),
      signedAt: Time,
      copiedLeaves: Type.Integer({
        description: 'those under the newest checkpoint that was copied elsewhere',
      }),
      copiedAt: Time,
      lockedUntil: Type.Union([Type.String(), Type.Null()], {
        description:
          'until when that copy was read back as locked; null: nothing is known to keep it from being deleted',
      }),
      copyError: Type.Union([Type.String(), Type.Null()]),
    }),
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
      const { size, signed, copied, copyError } = await findLogStatus(deps.pool);
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
        log: {
          leaves: size,
          signedLeaves: signed?.size ?? 0,
          signedAt: signed?.signedAt ?? null,
          copiedLeaves: copied?.size ?? 0,
          copiedAt: copied?.copiedAt ?? null,
          lockedUntil: copied?.lockedUntil ?? null,
          copyError,
        },
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
