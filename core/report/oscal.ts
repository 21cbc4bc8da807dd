import { createHash } from 'node:crypto';
import { gapText } from './gap.js';
import { completenessStatement, type Report, type ReportRow } from './report.js';

const OSCAL_VERSION = '1.1.2';
/** Whose names the properties below are. */
const NAMESPACE = 'urn:whochanged:oscal';

/**
 * A report as OSCAL assessment results (NIST, JSON, 1.1): one result for the control and the period, an observation for
 * the population, one for completeness and one for each exception that is told, and a finding. Identifiers follow from
 * the content, so the same report has the same ones. `satisfied` is only said where nothing speaks against it and the
 * population is proven to be complete; what a ledger can't know stays the assessor's to say.
 * @param generatedAt RFC 3339; the one value that differs between two of the same report
 */
export function oscalResults(report: Report, generatedAt: string, productVersion: string): object {
  const { control } = report;
  const seed = [
    control.id,
    report.since,
    report.until,
    report.clusters.join(),
    report.environments.join(),
    report.populationDigest,
  ].join('\n');
  const id = (what: string) => uuidOf(`${seed}\n${what}`);
  const controlID = token(control.reference);
  const property = (name: string, value: string) => ({ name, ns: NAMESPACE, value: oneLine(value) });
  const observation = (what: string, title: string, description: string, props: object[]) => ({
    uuid: id(what),
    title,
    description,
    methods: ['EXAMINE'],
    types: ['control-objective'],
    props,
    collected: report.until,
  });
  const observations = [
    observation(
      'population',
      'Population',
      `${report.rows} rows. Anyone counts them again by: ${report.query}`,
      [
        property('rows', String(report.rows)),
        property('exceptions', String(report.exceptionRows)),
        property('population-sha256', report.populationDigest),
        property('query', report.query),
        property('sample-seed', report.sample.seed),
        ...report.policies.map((policy) => property('policy', policy)),
        ...report.counts.map(({ what, rows }) => property('count', `${what}: ${rows}`)),
      ],
    ),
    observation('completeness', 'Completeness', completenessStatement(report), [
      property('completeness', report.completeness.verdict),
      property('gaps', String(report.completeness.gaps)),
      ...(report.completeness.unread === undefined
        ? []
        : [property('archived-unread', String(report.completeness.unread))]),
      ...report.gaps.map((gap) => property('gap', `${gap.cluster} ${gap.source}, ${gapText(gap)}`)),
    ]),
    ...report.exceptions.map((row) =>
      observation(`exception ${row.id}`, 'Exception', described(row), [
        property('change', row.id),
        property('actor', row.actor || 'unknown'),
        property('at', row.at),
        ...(row.verdict === undefined ? [] : [property('verdict', row.verdict)]),
      ]),
    ),
  ];
  const satisfied = report.exceptionRows === 0 && report.completeness.verdict === 'complete';
  const period = `${report.since} until ${report.until}`;
  return {
    'assessment-results': {
      uuid: id('document'),
      metadata: {
        title: `${control.framework} ${control.reference}, ${period}`,
        'last-modified': generatedAt,
        version: report.populationDigest.slice(0, 16),
        'oscal-version': OSCAL_VERSION,
        props: [property('generator', `whochanged ${productVersion}`)],
      },
      'import-ap': {
        href: `#${id('plan')}`,
        remarks: 'There is no assessment plan: the resource tells what was asked of the ledger instead.',
      },
      results: [
        {
          uuid: id('result'),
          title: `${control.framework} ${control.reference}`,
          description: control.statement,
          start: report.since,
          end: report.until,
          'reviewed-controls': {
            'control-selections': [{ 'include-controls': [{ 'control-id': controlID }] }],
          },
          observations,
          findings: [
            {
              uuid: id('finding'),
              title: `${control.framework} ${control.reference}`,
              description: satisfied
                ? 'No exception was found in a population that is proven to be complete.'
                : `${report.exceptionRows} exceptions. ${completenessStatement(report)}`,
              target: {
                type: 'objective-id',
                'target-id': controlID,
                status: {
                  state: satisfied ? 'satisfied' : 'not-satisfied',
                  remarks:
                    'By what the ledger shows. Whether the control is met is the assessor\u2019s to say.',
                },
              },
              'related-observations': observations.map(({ uuid }) => ({ 'observation-uuid': uuid })),
            },
          ],
        },
      ],
      'back-matter': {
        resources: [
          {
            uuid: id('plan'),
            title: 'What was asked of the ledger',
            description: `${control.statement} Anyone asks it again by: ${report.query}`,
          },
        ],
      },
    },
  };
}

function described(row: ReportRow): string {
  const where = [row.cluster, row.namespace, row.object].filter(Boolean).join(' ');
  const why = [row.verdict, row.detail].filter(Boolean).join(': ');
  return [`${row.at}: ${row.actor || 'unknown'}: ${row.summary} (${where})`, why].filter(Boolean).join('. ');
}

/** OSCAL's datatype `string`: not empty, without line breaks, nor white space at its ends. */
function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim() || 'unknown';
}

/** OSCAL's datatype `token`: begins with a letter; then letters, digits, dots, hyphens and underscores. */
function token(reference: string): string {
  const text = reference.toLowerCase().replace(/[^a-z0-9._-]+/g, '-');
  return /^[a-z_]/.test(text) ? text : `r${text}`;
}

/** The namespace of our UUIDs; drawn once. */
const UUID_NAMESPACE = Buffer.from('6f0c2f8e5d0b4b7e9a3c1e7d4f2a8b60', 'hex');

/** A UUIDv5 (RFC 9562, section 5.5) that follows from a text: OSCAL's datatype `uuid` takes versions 4 and 5 only. */
function uuidOf(text: string): string {
  const bytes = createHash('sha1').update(UUID_NAMESPACE).update(text).digest().subarray(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x50;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
