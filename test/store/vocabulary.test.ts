import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LEVELS, STAGES } from '../../core/audit-event.js';
import { COMPLETENESS_VERDICTS } from '../../core/completeness/counters.js';
import { GAP_CAUSES, GAP_STATES } from '../../core/completeness/gap.js';
import {
  CERTAINTIES,
  CHANGE_KINDS,
  EVENT_CLASSES,
  OUTCOMES,
  PATCH_TYPES,
  ROLES,
} from '../../core/vocabulary.js';
import { createTestDatabase, type TestDatabase } from '../harness/database.js';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

describe('the word lists', () => {
  it.each([
    ['audit_stage', STAGES],
    ['audit_level', LEVELS],
    ['event_class', EVENT_CLASSES],
    ['change_kind', CHANGE_KINDS],
    ['patch_type', PATCH_TYPES],
    ['change_outcome', OUTCOMES],
    ['certainty', CERTAINTIES],
    ['api_role', ROLES],
    ['gap_cause', GAP_CAUSES],
    ['gap_state', GAP_STATES],
    ['completeness_verdict', COMPLETENESS_VERDICTS],
  ])('of %s are the same in SQL and in the code', async (type, words) => {
    const { rows } = await database.pool.query(
      'select enumlabel from pg_enum where enumtypid = $1::regtype order by enumsortorder',
      [type],
    );
    expect(rows.map((row) => row.enumlabel)).toEqual([...words]);
  });
});
