import { expect, test } from 'vitest';
import { copiedEvents, linesOfCopy } from '../../bench/copied-events.js';
import { STEP_SECONDS } from '../../bench/fill.js';
import { Traffic } from '../../bench/traffic.js';

const traffic = new Traffic();
const sent = traffic.session(0).map((line) => JSON.parse(line));

test('a copy of the events is later, has other auditIDs, and is the same in all else', () => {
  const copied = copiedEvents(traffic, 1, '', 4 * sent.length);
  expect(copied.copies).toBe(3);
  expect([...linesOfCopy(copied, 0)]).toEqual(copied.lines);

  const copies = [...linesOfCopy(copied, 2)].map((line) => JSON.parse(line));
  const later = (time: string) => Date.parse(time) + 2 * STEP_SECONDS * 1000;
  for (const [i, { auditID, requestReceivedTimestamp, stageTimestamp, ...rest }] of copies.entries()) {
    const original = sent[i];
    expect({ ...rest, auditID, requestReceivedTimestamp, stageTimestamp }).toEqual({
      ...original,
      auditID: `${original.auditID}-2`,
      requestReceivedTimestamp,
      stageTimestamp,
    });
    expect(Date.parse(requestReceivedTimestamp)).toBe(later(original.requestReceivedTimestamp));
    expect(requestReceivedTimestamp.slice(-8)).toBe(original.requestReceivedTimestamp.slice(-8));
    expect(Date.parse(stageTimestamp)).toBe(later(original.stageTimestamp));
  }
});

test('a ledger that holds something else besides is refused', () => {
  expect(() => copiedEvents(traffic, 1, '', 2 * sent.length + 1)).toThrow('no multiple');
});
