import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  findDowntimes,
  mergeSpans,
  outlastsWebhook,
  WEBHOOK_PATIENCE_MICROS,
} from '../../../core/completeness/downtime.js';

const spans = fc.array(
  fc
    .record({ since: fc.nat(100), length: fc.nat(20) })
    .map(({ since, length }) => ({ since, until: since + length })),
  { maxLength: 12 },
);

describe('findDowntimes', () => {
  it('is every moment between the first and the last at which no span was there', () => {
    fc.assert(
      fc.property(spans, (uptimes) => {
        const downtimes = findDowntimes(uptimes);
        const first = Math.min(...uptimes.map((span) => span.since));
        const last = Math.max(...uptimes.map((span) => span.until));
        for (let at = 0.5; at < 130; at++) {
          const up = uptimes.some((span) => span.since < at && at < span.until);
          const down = downtimes.some((span) => span.since < at && at < span.until);
          expect(down).toBe(at > first && at < last && !up);
        }
      }),
    );
  });

  it('joins what lies near enough', () => {
    expect(
      mergeSpans(
        [
          { since: 20, until: 21 },
          { since: 0, until: 5 },
          { since: 8, until: 9 },
        ],
        3,
      ),
    ).toEqual([
      { since: 0, until: 9 },
      { since: 20, until: 21 },
    ]);
  });

  it('knows how long the webhook keeps trying', () => {
    expect(outlastsWebhook({ since: 0, until: WEBHOOK_PATIENCE_MICROS - 1 })).toBe(false);
    expect(outlastsWebhook({ since: 0, until: WEBHOOK_PATIENCE_MICROS })).toBe(true);
    expect(WEBHOOK_PATIENCE_MICROS).toBe([10, 15, 22.5, 33.75].reduce((sum, wait) => sum + wait, 0) * 1e6);
  });
});
