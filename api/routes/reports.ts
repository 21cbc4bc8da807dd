import { Readable } from 'node:stream';
import { type Static, Type } from 'typebox';
import { WhochangedError } from '../../core/errors.js';
import { CONTROLS, type Control, findControl } from '../../core/report/controls.js';
import { reportHtml } from '../../core/report/html.js';
import { completenessStatement, type Report, ReportGathering } from '../../core/report/report.js';
import { formatMicros } from '../../core/timestamp.js';
import { findClusters } from '../../store/queries/change-filter.js';
import { findListCompleteness } from '../../store/queries/completeness.js';
import { populationOf } from '../../store/queries/report-population.js';
import type { Api } from '../api.js';
import { words } from '../change-schema.js';
import { readTime } from '../times.js';
import { listOf, many } from './changes.js';

const FORMATS = ['json', 'html', 'ndjson'] as const;
const TYPES = { json: 'application/json', html: 'text/html; charset=utf-8', ndjson: 'application/x-ndjson' };

const Query = Type.Object({
  cluster: many(Type.String()),
  environment: many(Type.String({ description: 'as the policy names it; for controls over changes' })),
  since: Type.String({ description: 'RFC 3339, or 90d ago' }),
  until: Type.String({ description: 'not included' }),
  seed: Type.Optional(Type.String({ maxLength: 200, description: 'of the sample; default: the period' })),
  sample: Type.Optional(Type.Integer({ minimum: 0, maximum: 1000, default: 25 })),
  format: Type.Optional(words(FORMATS)),
});

const ControlSchema = Type.Object({
  id: Type.String(),
  framework: Type.String(),
  reference: Type.String(),
  statement: Type.String(),
  population: Type.String(),
});

export function reportRoutes({ server, deps, auth }: Api): void {
  // Of the whole ledger, or it would claim a completeness that a part of it can't have.
  const onRequest = auth.require('reader');

  server.get(
    '/v1/reports',
    {
      onRequest,
      schema: {
        tags: ['reports'],
        summary: 'The controls that a report can be made for',
        response: { 200: Type.Object({ items: Type.Array(ControlSchema) }) },
      },
    },
    async () => ({ items: CONTROLS.map((control) => ({ ...control })) }),
  );

  server.get(
    '/v1/reports/:control',
    {
      onRequest,
      schema: {
        tags: ['reports'],
        summary: 'Evidence for a control over a time: population, exceptions, sample, completeness',
        params: Type.Object({ control: Type.String() }),
        querystring: Query,
      },
    },
    async ({ params, query }, reply) => {
      const report = await makeReport(deps, controlNamed(params.control), query);
      const generatedAt = formatMicros(Date.now() * 1000);
      const format = query.format ?? 'json';
      reply.type(TYPES[format]);
      if (format === 'html') return reply.send(reportHtml(report, generatedAt));
      const statement = completenessStatement(report);
      if (format === 'json') return reply.send({ ...report, completenessStatement: statement, generatedAt });
      const { exceptions, sample, ...head } = report;
      const lines = [
        { type: 'report', ...head, completenessStatement: statement, seed: sample.seed, generatedAt },
        ...exceptions.map((row) => ({ type: 'exception', ...row })),
        ...sample.rows.map((row) => ({ type: 'sample', ...row })),
      ];
      return reply.send(Readable.from(lines.map((line) => `${JSON.stringify(line)}\n`)));
    },
  );
}

function controlNamed(id: string): Control {
  const control = findControl(id);
  if (control) return control;
  throw new WhochangedError('not_found', `no control is called "${id.slice(0, 60)}"`, {
    hint: `one of ${CONTROLS.map((known) => known.id).join(', ')}`,
  });
}

async function makeReport(
  { db, pool }: Pick<Api['deps'], 'db' | 'pool'>,
  control: Control,
  query: Static<typeof Query>,
): Promise<Report> {
  const since = readTime('since', query.since)!;
  const until = readTime('until', query.until)!;
  if (since >= until)
    throw new WhochangedError('invalid_request', 'since: it is not before until', {
      hint: 'the period begins at since and ends before until',
    });
  const environments = listOf(query.environment) ?? [];
  if (environments.length > 0 && control.population !== 'changes')
    throw new WhochangedError('invalid_request', `environment: ${control.id} is not about environments`, {
      hint: 'leave it out, or choose clusters',
    });
  const clusters = listOf(query.cluster) ?? [];
  const known = await findClusters(db, clusters.length > 0 ? clusters : undefined);
  const missing = clusters.find((name) => !known.some((cluster) => cluster.name === name));
  if (missing !== undefined)
    throw new WhochangedError('not_found', `no cluster is called "${missing.slice(0, 60)}"`, {
      hint: 'whochanged source list shows them',
    });

  const gathering = new ReportGathering({
    seed: query.seed ?? `${control.id} ${since} ${until}`,
    sampleSize: query.sample ?? 25,
  });
  const population = populationOf(control.population, { clusters, environments, since, until });
  for await (const { row, what, policy } of population.rows(pool, db)) gathering.add(row, what, policy);
  const completeness = await findListCompleteness(
    db,
    known.map(({ id }) => id),
    since,
    until,
  );
  return gathering.finish({ control, environments, clusters, since, until }, population.query, completeness);
}
