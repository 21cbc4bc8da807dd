import { isAllowedURL } from '../alerts/read-receiver.js';
import { isReference } from '../alerts/receiver.js';
import { type PolicyProblem, Shape } from '../verdict/policy-shape.js';
import { CONTROLS, type Control, findControl, isOfChanges, isProvable } from './controls.js';
import { REPORT_FORMATS, type ReportFormat } from './formats.js';

export const PERIODS = ['day', 'week', 'month', 'quarter'] as const;
export type Period = (typeof PERIODS)[number];

/** A report that is made again after each period, as the file of deliveries names it. */
export interface ReportDelivery {
  name: string;
  control: Control;
  every: Period;
  clusters: string[];
  environments: string[];
  formats: ReportFormat[];
  /** `s3://BUCKET/PREFIX/`, with the settings of store/s3-place.ts. */
  to: string | undefined;
  /** Told of each report; the secret is a reference (`env:`, `file:`). */
  webhook: { url: string; secret: string } | undefined;
}

const NAME = /^[a-z0-9][a-z0-9-]{0,62}$/;
const KEYS = ['name', 'control', 'every', 'clusters', 'environments', 'formats', 'to', 'webhook'];

/** Reads the file of deliveries. */
export function readDeliveries(
  document: unknown,
): { deliveries: ReportDelivery[] } | { problems: PolicyProblem[] } {
  const problems: PolicyProblem[] = [];
  const root = new Shape(document, [], problems);
  root.only(['deliveries']);
  const names = new Set<string>();
  const deliveries = root.list('deliveries').map((shape) => readDelivery(shape, names));
  return problems.length > 0 ? { problems } : { deliveries };
}

function readDelivery(shape: Shape, names: Set<string>): ReportDelivery {
  shape.only(KEYS);
  const name = shape.text('name', { required: true, example: 'soc2-production' });
  if (name !== '' && (!NAME.test(name) || names.has(name)))
    shape.problem(
      'name',
      'is no name of its own',
      'lower-case letters, digits and dashes, once',
      'soc2-production',
    );
  names.add(name);
  const control = findControl(shape.text('control', { required: true, example: 'soc2-cc8.1' }));
  if (!control)
    shape.problem(
      'control',
      'is none',
      `one of ${CONTROLS.map(({ id }) => id).join(', ')}`,
      'control: soc2-cc8.1',
    );
  const environments = shape.texts('environments', { example: '[production]' });
  if (control && control.population !== 'changes' && environments.length > 0)
    shape.problem('environments', 'are not what this control is about', 'none', 'clusters: [prod]');
  const formats = shape.texts('formats', { required: true, example: '[html, csv]' });
  const unknown = formats.find((one) => !(REPORT_FORMATS as readonly string[]).includes(one));
  if (unknown !== undefined)
    shape.problem(
      'formats',
      'holds one that there is not',
      REPORT_FORMATS.join(', '),
      'formats: [html, csv]',
    );
  if (control && !isOfChanges(control.population) && formats.includes('ocsf'))
    shape.problem(
      'formats',
      'holds ocsf, and the rows of this control are no requests to a cluster',
      'others',
      'formats: [html, csv]',
    );
  if (control && !isProvable(control.population) && formats.includes('proofs'))
    shape.problem(
      'formats',
      'holds proofs, and the rows of this control have no places in the proof log',
      'others',
      'formats: [html, csv]',
    );
  const webhook = shape.has('webhook') ? readWebhook(shape.map('webhook')) : undefined;
  const to = shape.optional('to', 's3://audit-reports/prod/');
  if (to === undefined && webhook === undefined)
    shape.problem('to', 'and webhook are missing', 'one of them, or both', 'to: s3://audit-reports/prod/');
  return {
    name,
    control: control ?? CONTROLS[0]!,
    every: shape.oneOf('every', PERIODS, undefined),
    clusters: shape.texts('clusters', { example: '[prod]' }),
    environments,
    formats: formats as ReportFormat[],
    to,
    webhook,
  };
}

function readWebhook(shape: Shape | undefined): ReportDelivery['webhook'] {
  if (!shape) return undefined;
  shape.only(['url', 'secret']);
  const url = shape.text('url', { required: true, example: 'https://grc.example.com/hooks/reports' });
  if (url !== '' && !isAllowedURL(url))
    shape.problem(
      'url',
      'is no URL of https without a password',
      'one',
      'url: https://grc.example.com/hooks',
    );
  const secret = shape.text('secret', { required: true, example: 'env:WHOCHANGED_CREDENTIAL_REPORTS' });
  if (secret !== '' && !isReference(secret))
    shape.problem(
      'secret',
      'is no reference',
      'env:NAME or file:/PATH',
      'secret: env:WHOCHANGED_CREDENTIAL_REPORTS',
    );
  return { url, secret };
}

/** The last period that has ended by a time, in UTC; weeks begin on Monday. RFC 3339, half-open. */
export function lastPeriod(every: Period, now: Date): { since: string; until: string } {
  const [year, month, day] = [now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate()];
  const bounds = {
    day: [Date.UTC(year, month, day - 1), Date.UTC(year, month, day)],
    week: [0, 1].map((n) => Date.UTC(year, month, day - ((now.getUTCDay() + 6) % 7) - 7 * (1 - n))),
    month: [Date.UTC(year, month - 1, 1), Date.UTC(year, month, 1)],
    quarter: [0, 1].map((n) => Date.UTC(year, month - (month % 3) - 3 * (1 - n), 1)),
  }[every] as [number, number];
  const [since, until] = bounds.map((at) => new Date(at).toISOString()) as [string, string];
  return { since, until };
}

/** More are not made up for: a delivery that stood still for longer begins anew. */
const MOST_PERIODS = 400;

/**
 * The periods that have ended by a time, the oldest first, from one on: the last one, and those before it that begin
 * no earlier than `from` (RFC 3339), which were missed. Left out: the last one alone.
 */
export function endedPeriods(
  every: Period,
  now: Date,
  from: string | undefined,
): Array<{ since: string; until: string }> {
  const periods = [lastPeriod(every, now)];
  const begin = from === undefined ? Number.POSITIVE_INFINITY : Date.parse(from);
  while (periods.length < MOST_PERIODS) {
    const before = lastPeriod(every, new Date(periods[0]!.since));
    if (Date.parse(before.since) < begin) break;
    periods.unshift(before);
  }
  return periods;
}
