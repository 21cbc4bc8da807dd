import { Readable } from 'node:stream';
import { type Static, Type } from 'typebox';
import { includesRole, unboundedRole } from '../../core/access/grants.js';
import { WhochangedError } from '../../core/errors.js';
import { CONTROLS, type Control, findControl, isOfChanges, isProvable } from '../../core/report/controls.js';
import { REPORT_FILES, REPORT_FORMATS, type ReportFormat } from '../../core/report/formats.js';
import { reportHtml } from '../../core/report/html.js';
import { reportLines } from '../../core/report/ndjson.js';
import { oscalResults } from '../../core/report/oscal.js';
import { completenessStatement, type Report } from '../../core/report/report.js';
import { formatMicros } from '../../core/timestamp.js';
import { reportProofs } from '../../store/log/report-proofs.js';
import { populationLines } from '../../store/queries/population-lines.js';
import { checkQuestion, makeReport, type ReportQuestion } from '../../store/queries/report.js';
import type { Api } from '../api.js';
import { words } from '../change-schema.js';
import { listOf, many } from '../list-query.js';
import { readTime } from '../times.js';

/** Proofs come as lines, from which whoever asks makes the archive. */
const typeOf = (format: ReportFormat) => REPORT_FILES[format === 'proofs' ? 'ndjson' : format].type;

const Query = Type.Object({
  cluster: many(Type.String()),
  environment: many(Type.String({ description: 'as the policy names it; for controls over changes' })),
  since: Type.String({ description: 'RFC 3339, or 90d ago' }),
  until: Type.String({ description: 'not included' }),
  seed: Type.Optional(Type.String({ maxLength: 200, description: 'of the sample; default: the period' })),
  sample: Type.Optional(Type.Integer({ minimum: 0, maximum: 1000, default: 25 })),
  format: Type.Optional(words(REPORT_FORMATS)),
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
        description:
          'html, json and ndjson are the report; csv and ocsf (API Activity, 6003) its whole population, streamed; oscal is an assessment-results document; proofs are the files of a bundle that whochanged-verify checks, one a line: {name, content}.',
        params: Type.Object({ control: Type.String() }),
        querystring: Query,
      },
    },
    async ({ params, query, caller }, reply) => {
      const control = controlNamed(params.control);
      // Who asked this ledger what is for admins, as at /v1/access-events.
      if (control.population === 'ledger_access' && !includesRole(unboundedRole(caller!.grants), 'admin'))
        throw new WhochangedError('forbidden', `a report on ${control.id} takes the role admin`);
      const question = questionOf(control, query);
      const format = query.format ?? 'json';
      if (format === 'ocsf' && !isOfChanges(control.population))
        throw new WhochangedError(
          'invalid_request',
          `format: the rows of ${control.id} are no requests to a cluster`,
          { hint: 'choose html, json, ndjson, csv or oscal' },
        );
      if (format === 'proofs' && !isProvable(control.population))
        throw new WhochangedError(
          'invalid_request',
          `format: the rows of ${control.id} are of the ledger itself, and have no places in the proof log`,
          { hint: 'choose html, json, ndjson, csv or oscal' },
        );
      reply.type(typeOf(format));
      if (format === 'csv' || format === 'ocsf') {
        await checkQuestion(deps.db, question);
        return reply.send(Readable.from(populationLines(deps, question, format, deps.version)));
      }
      const report = await makeReport(deps, question);
      if (format === 'proofs') return reply.send(Readable.from(bundleLines(deps, report)));
      const generatedAt = formatMicros(Date.now() * 1000);
      if (format === 'html') return reply.send(reportHtml(report, generatedAt));
      if (format === 'oscal') return reply.send(oscalResults(report, generatedAt, deps.version));
      if (format === 'json')
        return reply.send({ ...report, completenessStatement: completenessStatement(report), generatedAt });
      return reply.send(Readable.from(reportLines(report, generatedAt)));
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

function questionOf(control: Control, query: Static<typeof Query>): ReportQuestion {
  return {
    control,
    clusters: listOf(query.cluster) ?? [],
    environments: listOf(query.environment) ?? [],
    since: readTime('since', query.since)!,
    until: readTime('until', query.until)!,
    seed: query.seed,
    sampleSize: query.sample,
  };
}

async function* bundleLines(deps: Pick<Api['deps'], 'db' | 'pool'>, report: Report): AsyncGenerator<string> {
  for await (const file of reportProofs(deps, report)) yield `${JSON.stringify(file)}\n`;
}
