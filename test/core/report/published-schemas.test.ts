import { describe, expect, it } from 'vitest';
import { findControl } from '../../../core/report/controls.js';
import { apiActivity } from '../../../core/report/ocsf.js';
import { oscalResults } from '../../../core/report/oscal.js';
import { ReportGathering } from '../../../core/report/report.js';
import { publishedSchemas } from '../../harness/published-schemas.js';
import { REPORT_ROW, ROW_ORIGIN } from '../../harness/report-samples.js';
import { problemsOfActivity, problemsOfResults } from '../../harness/report-schemas.js';

// biome-ignore lint/suspicious/noExplicitAny: documents that are spoiled on purpose
type Document = any;

/** What makes a document of ours wrong by the publishers' schemas. Ours must say so too. */
const SPOILED_RESULTS: Array<[what: string, spoil: (results: Document) => void]> = [
  ['no title', ({ metadata }) => delete metadata.title],
  ['a word too many', ({ metadata }) => (metadata.owner = 'x')],
  ['a UUID of version 8', (results) => (results.uuid = '2f1e7c5a-9b3d-8c4e-8f6a-1d2c3b4a5968')],
  ['a time without its zone', ({ metadata }) => (metadata['last-modified'] = '2026-10-02T00:00:00')],
  ['a day that is none', ({ metadata }) => (metadata['last-modified'] = '2026-02-30T00:00:00Z')],
  ['a value over two lines', ({ results }) => (results[0].observations[0].props[0].value = 'a\nb')],
  ['a name with a space', ({ results }) => (results[0].observations[0].props[0].name = 'a b')],
  ['a namespace that is no URI', ({ results }) => (results[0].observations[0].props[0].ns = 'ours')],
  ['an empty list', ({ results }) => (results[0].observations = [])],
  ['no method', ({ results }) => delete results[0].observations[0].methods],
  ['a state of its own', ({ results }) => (results[0].findings[0].target.status.state = 'unknown')],
  [
    'a control without its id',
    ({ results }) => (results[0]['reviewed-controls']['control-selections'] = [{ 'include-controls': [{}] }]),
  ],
];

const SPOILED_ACTIVITIES: Array<[what: string, spoil: (activity: Document) => void]> = [
  ['an attribute too many', (activity) => (activity.verdict = 'approved')],
  ['an activity of its own', (activity) => (activity.activity_id = 7)],
  ['another class', (activity) => (activity.class_uid = 6001)],
  ['a time in words', (activity) => (activity.time = '2026-10-02T00:00:00Z')],
  ['no version', ({ metadata }) => delete metadata.version],
  ['no actor', (activity) => delete activity.actor],
  ['an actor that nothing identifies', ({ actor }) => (actor.user = {})],
  ['an endpoint that nothing identifies', (activity) => (activity.src_endpoint = {})],
  ['a request without its id', ({ api }) => delete api.request.uid],
  ['a code in words', ({ api }) => (api.response.code = '200')],
  ['a group that is a word', ({ resources }) => (resources[0].group = 'apps')],
];

const results = (): Document => {
  const gathering = new ReportGathering({ seed: 'a', sampleSize: 3 });
  gathering.add({ ...REPORT_ROW, exception: true }, 'approved', 'policy 1');
  const scope = {
    control: findControl('soc2-cc8.1')!,
    environments: [],
    clusters: [],
    since: '2026-07-01T00:00:00Z',
    until: '2026-10-01T00:00:00Z',
  };
  const report = gathering.finish(scope, 'GET /v1/verdicts', { verdict: 'unknown', gaps: 0 });
  return JSON.parse(JSON.stringify(oscalResults(report, '2026-10-02T00:00:00Z', '1')));
};
const activity = (): Document => JSON.parse(JSON.stringify(apiActivity(REPORT_ROW, ROW_ORIGIN, '1')));

const published = publishedSchemas();

describe('what spoils a document', () => {
  it.each(SPOILED_RESULTS)('of OSCAL is found: %s', (_, spoil) => {
    const document = results();
    expect(problemsOfResults(document)).toEqual([]);
    spoil(document['assessment-results']);
    expect(problemsOfResults(document)).not.toEqual([]);
    if (published) expect(published.results.problems(document)).not.toEqual([]);
  });

  it.each(SPOILED_ACTIVITIES)('of OCSF is found: %s', (_, spoil) => {
    const document = activity();
    expect(problemsOfActivity(document)).toEqual([]);
    spoil(document);
    expect(problemsOfActivity(document)).not.toEqual([]);
    if (published) expect(published.activity.problems(document)).not.toEqual([]);
  });
});

// Where they are there, every other test of these formats is held against them too (test/harness/report-schemas.ts).
describe.skipIf(published === undefined)('the published schemas', () => {
  it('are of the versions that our documents name', () => {
    const version = results()['assessment-results'].metadata['oscal-version'];
    expect(published!.results.id).toBe(`http://csrc.nist.gov/ns/oscal/${version}/oscal-ar-schema.json`);
    expect(published!.activity.id).toMatch(/\/api_activity$/);
    expect(published!.results.problems(results())).toEqual([]);
    expect(published!.activity.problems(activity())).toEqual([]);
  });
});
