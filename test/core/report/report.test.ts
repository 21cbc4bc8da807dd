import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CONTROLS, findControl } from '../../../core/report/controls.js';
import { reportHtml } from '../../../core/report/html.js';
import { apiActivity, type RowOrigin } from '../../../core/report/ocsf.js';
import { oscalResults } from '../../../core/report/oscal.js';
import { completenessStatement, ReportGathering, type ReportRow } from '../../../core/report/report.js';
import { REPORT_ROW, ROW_ORIGIN } from '../../harness/report-samples.js';
import { problemsOfActivity, problemsOfResults } from '../../harness/report-schemas.js';

const SCOPE = {
  control: findControl('soc2-cc8.1')!,
  environments: ['production'],
  clusters: ['prod'],
  since: '2026-07-01T00:00:00Z',
  until: '2026-10-01T00:00:00Z',
};

function row(n: number, more: Partial<ReportRow> = {}): ReportRow {
  return {
    ...REPORT_ROW,
    id: `id-${n}`,
    at: `2026-07-${String((n % 28) + 1).padStart(2, '0')}T00:00:00Z`,
    ...more,
  };
}

function gathered(rows: ReportRow[], seed = 'a', sampleSize = 10) {
  const gathering = new ReportGathering({ seed, sampleSize });
  for (const item of rows) gathering.add(item, item.verdict ?? 'exec');
  return gathering.finish(SCOPE, 'GET /v1/verdicts', { verdict: 'unknown', gaps: 0 });
}

it('names every control once', () => {
  expect(new Set(CONTROLS.map(({ id }) => id)).size).toBe(CONTROLS.length);
  for (const { id, statement } of CONTROLS) {
    expect(id).toMatch(/^[a-z0-9.-]+$/);
    expect(statement).toMatch(/\.$/);
  }
});

describe('a sample', () => {
  it('is the same whatever the order of the population, as large as asked for, and of its members', () => {
    fc.assert(
      fc.property(
        fc
          .uniqueArray(fc.nat(5000), { maxLength: 400 })
          .chain((ids) => fc.tuple(fc.constant(ids), fc.shuffledSubarray(ids, { minLength: ids.length }))),
        fc.nat(30),
        ([ids, shuffled], size) => {
          const one = gathered(
            ids.map((n) => row(n)),
            'seed',
            size,
          ).sample.rows;
          const other = gathered(
            shuffled.map((n) => row(n)),
            'seed',
            size,
          ).sample.rows;
          expect(other).toEqual(one);
          expect(one.length).toBe(Math.min(size, ids.length));
          expect(new Set(one.map(({ id }) => id)).size).toBe(one.length);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('depends on its seed', () => {
    const rows = Array.from({ length: 200 }, (_, n) => row(n));
    expect(gathered(rows, 'a').sample.rows).not.toEqual(gathered(rows, 'b').sample.rows);
  });
});

it('counts, puts exceptions apart, and digests what it is about', () => {
  const rows = [row(1), row(2, { verdict: 'unapproved(stale)', exception: true }), row(3)];
  const report = gathered(rows);
  expect(report).toMatchObject({
    rows: 3,
    exceptionRows: 1,
    exceptions: [{ id: 'id-2' }],
    counts: [
      { what: 'approved', rows: 2 },
      { what: 'unapproved(stale)', rows: 1 },
    ],
  });
  expect(gathered(rows).populationDigest).toBe(report.populationDigest);
  expect(gathered(rows.slice(1)).populationDigest).not.toBe(report.populationDigest);
  expect(gathered([rows[0]!, { ...rows[1]!, verdict: 'approved' }, rows[2]!]).populationDigest).not.toBe(
    report.populationDigest,
  );
});

it('tells the first exceptions of all clusters, in whatever order they come', () => {
  const at = (n: number) => new Date(Date.UTC(2026, 6, 1) + n * 1000).toISOString();
  const many = Array.from({ length: 3000 }, (_, n) => row(n, { at: at(n), cluster: 'a', exception: true }));
  const last = row(3000, { at: at(-1), cluster: 'b', exception: true });
  const { exceptions, exceptionRows } = gathered([...many.reverse(), last]);
  expect(exceptionRows).toBe(3001);
  expect(exceptions.map(({ id }) => id)).toEqual([
    'id-3000',
    ...Array.from({ length: 999 }, (_, n) => `id-${n}`),
  ]);
});

it('never claims to be complete without proof', () => {
  const report = gathered([row(1)]);
  expect(completenessStatement(report)).toMatch(/not proven/);
  expect(completenessStatement({ ...report, completeness: { verdict: 'incomplete', gaps: 1 } })).toMatch(
    /not complete: 1 known gap overlaps/,
  );
  const unread = { verdict: 'incomplete', gaps: 0, unread: 4 } as const;
  expect(completenessStatement({ ...report, completeness: unread })).toMatch(
    /not complete: up to 4 events .* lie in the archive/,
  );
  expect(completenessStatement({ ...report, completeness: { ...unread, gaps: 2 } })).toMatch(
    /2 known gaps overlap .* Besides, up to 4 events/,
  );
  expect(completenessStatement({ ...report, completeness: { verdict: 'complete', gaps: 0 } })).toMatch(
    /prove that all events/,
  );
});

it('is HTML in which nothing of the cluster is markup', () => {
  const html = reportHtml(
    gathered([row(1, { summary: '<script>alert(1)</script>', actor: '"><img src=x>', exception: true })]),
    '2026-10-02T00:00:00Z',
  );
  expect(html).not.toMatch(/<script|<img/);
  expect(html).toContain('&lt;script&gt;');
  const again = reportHtml(
    gathered([row(1, { summary: '<script>alert(1)</script>', actor: '"><img src=x>', exception: true })]),
    '2026-10-03T00:00:00Z',
  );
  expect(again.replace('2026-10-03', '2026-10-02')).toBe(html);
});

describe('a report in a format of others', () => {
  const hostile = row(1, {
    summary: ' \n"x"\u2028\t',
    actor: '',
    verdict: 'unapproved(stale)',
    exception: true,
  });
  const gap = { id: '1', cluster: 'prod', source: 'a\nb', cause: 'receiver_down', missing: 7 };
  const gaps = [{ ...gap, since: '2026-07-02T00:00:00Z', until: '2026-07-02T00:05:00Z' }];

  it.each(CONTROLS.map(({ id }) => id))('is valid OSCAL on %s, whatever is in it', (id) => {
    const scope = { ...SCOPE, control: findControl(id)! };
    const problems = (rows: ReportRow[], verdict: 'complete' | 'incomplete' | 'unknown') => {
      const gathering = new ReportGathering({ seed: 'a\nb', sampleSize: 3 });
      for (const item of rows) gathering.add(item, 'x', 'policy\n1');
      const known = verdict === 'incomplete' ? gaps : [];
      const unread = verdict === 'incomplete' ? { unread: 9 } : {};
      const report = gathering.finish(scope, 'GET /v1/x', { verdict, gaps: known.length, ...unread }, known);
      return problemsOfResults(oscalResults(report, '2026-10-02T00:00:00.123456Z', '1'));
    };
    expect(problems([], 'complete')).toEqual([]);
    expect(problems([], 'unknown')).toEqual([]);
    expect(problems([hostile, row(2)], 'incomplete')).toEqual([]);
  });

  const VERBS = 'create get list watch update patch delete deletecollection impersonate post'.split(' ');
  const nothing: RowOrigin = {
    verb: 'impersonate',
    code: null,
    apiGroup: '',
    apiVersion: null,
    resource: '',
    subresource: null,
    name: '',
    username: '',
    impersonatedUsername: null,
    sourceIPs: null,
    userAgent: null,
    auditID: '',
    requestURI: '',
  };
  const ORIGINS: Array<[what: string, origin: RowOrigin]> = [
    ...VERBS.map((verb): [string, RowOrigin] => [verb, { ...ROW_ORIGIN, verb }]),
    ['one of which nothing is known', nothing],
    ['a refused request', { ...ROW_ORIGIN, code: 403 }],
    ['a failed login', { ...ROW_ORIGIN, code: 401, username: '' }],
    ['a request as another', { ...ROW_ORIGIN, impersonatedUsername: 'system:admin' }],
    ['one through proxies', { ...ROW_ORIGIN, sourceIPs: ['2001:db8::1', '10.0.0.1', '127.0.0.1'] }],
    ['one without an address', { ...ROW_ORIGIN, sourceIPs: [] }],
    ['an exec', { ...ROW_ORIGIN, verb: 'create', resource: 'pods', subresource: 'exec', code: 101 }],
  ];

  it.each(ORIGINS)('is valid OCSF: %s', (_, origin) => {
    for (const item of [hostile, row(2, { namespace: '', object: '', commits: ['a'], approvers: ['b'] })])
      expect(problemsOfActivity(apiActivity(item, origin, '1'))).toEqual([]);
  });

  it('keeps the query of a request out of its path', () => {
    expect(apiActivity(row(1), ROW_ORIGIN, '1')).toMatchObject({
      http_request: {
        url: {
          path: '/apis/apps/v1/namespaces/shop/deployments/web',
          query_string: 'fieldManager=kubectl',
        },
      },
    });
  });
});

it('calls a control satisfied only without exceptions in a population that is proven to be complete', () => {
  const state = (exceptions: number, verdict: 'complete' | 'unknown') => {
    const gathering = new ReportGathering({ seed: 'a', sampleSize: 3 });
    for (let n = 0; n < 3; n++) gathering.add(row(n, { exception: n < exceptions }), 'x');
    const results = oscalResults(
      gathering.finish(SCOPE, 'q', { verdict, gaps: 0 }),
      '2026-10-02T00:00:00Z',
      '1',
    );
    return /"state":"([a-z-]+)"/.exec(JSON.stringify(results))![1];
  };
  expect(state(0, 'complete')).toBe('satisfied');
  expect([state(1, 'complete'), state(0, 'unknown')]).toEqual(['not-satisfied', 'not-satisfied']);
});
