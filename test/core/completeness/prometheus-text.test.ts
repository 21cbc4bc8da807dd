import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AuditCountersReader, parseSampleLine } from '../../../core/completeness/prometheus-text.js';

/** As kube-apiserver 1.20 answers, cut down to what matters and some of what does not. */
const ANSWER = `# HELP apiserver_audit_error_total [ALPHA] Counter of audit events that failed to be audited properly. Plugin identifies the plugin affected by the error.
# TYPE apiserver_audit_error_total counter
apiserver_audit_error_total{plugin="buffered"} 12
apiserver_audit_error_total{plugin="webhook"} 1.2e+03
# HELP apiserver_audit_event_total [ALPHA] Counter of audit events generated and sent to the audit backend.
# TYPE apiserver_audit_event_total counter
apiserver_audit_event_total 1.234567e+06
# TYPE apiserver_audit_level_total counter
apiserver_audit_level_total{level="Metadata"} 2203
# TYPE apiserver_audit_requests_rejected_total counter
apiserver_audit_requests_rejected_total 0
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.79552746912e+09
process_start_time_seconds_of_another 1
`;

function read(text: string) {
  const reader = new AuditCountersReader();
  for (const line of text.split('\n')) reader.take(line);
  return reader.result();
}

describe('AuditCountersReader', () => {
  it('reads what an apiserver answers', () => {
    expect(read(ANSWER)).toEqual({
      counters: {
        events: 1_234_567,
        errors: { buffered: 12, webhook: 1200 },
        rejected: 0,
        processStartedAt: 1_795_527_469_120_000,
      },
    });
  });

  it('says what is missing', () => {
    expect(read('up 1')).toEqual({ missing: 'apiserver_audit_event_total' });
    expect(read('apiserver_audit_event_total 5')).toEqual({ missing: 'process_start_time_seconds' });
    expect(read('apiserver_audit_event_total NaN\nprocess_start_time_seconds 1')).toEqual({
      missing: 'apiserver_audit_event_total',
    });
  });
});

describe('parseSampleLine', () => {
  it('reads every form that the format allows', () => {
    expect(parseSampleLine('a{b="c",} 1 1395066363000')).toEqual({ name: 'a', labels: { b: 'c' }, value: 1 });
    expect(parseSampleLine('a { b = "x\\"y\\\\z\\n" } -Inf')).toEqual({
      name: 'a',
      labels: { b: 'x"y\\z\n' },
      value: Number.NEGATIVE_INFINITY,
    });
    expect(parseSampleLine('a +1.5E-3')?.value).toBe(0.0015);
    expect(parseSampleLine('a NaN')?.value).toBeNaN();
  });

  it.each(['', '# a 1', '{b="c"} 1', 'a', 'a{b="c"', 'a{b=c} 1', 'a one', 'a 0x10', 'a{b="c} 1'])(
    'takes %j for no sample',
    (line) => {
      expect(parseSampleLine(line)).toBeUndefined();
    },
  );

  it('reads back whatever is written', () => {
    const escaped = (text: string) =>
      text.replace(/[\\"\n]/g, (char) => (char === '\n' ? '\\n' : `\\${char}`));
    const name = fc.stringMatching(/^[a-z_][a-z0-9_]{0,8}$/);
    fc.assert(
      fc.property(
        name,
        fc.dictionary(name, fc.string({ unit: 'grapheme' })),
        fc.double({ noNaN: true }),
        (metric, labels, value) => {
          const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escaped(text)}"`);
          const written = Number.isFinite(value) ? String(value) : value > 0 ? '+Inf' : '-Inf';
          const read = parseSampleLine(`${metric}{${pairs.join(',')}} ${written}`);
          expect(read).toEqual({ name: metric, labels: { ...labels }, value: value === 0 ? 0 : value });
        },
      ),
    );
  });
});
