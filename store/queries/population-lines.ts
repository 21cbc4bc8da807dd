import { csvCells } from '../../core/csv.js';
import { REPORT_COLUMNS } from '../../core/report/columns.js';
import type { Control } from '../../core/report/controls.js';
import { apiActivity } from '../../core/report/ocsf.js';
import type { Store } from '../tenant.js';
import { type PopulationScope, populationOf } from './report-population.js';

/**
 * The whole population of a report as text, a line for each member as the database gives it: CSV with its head, or OCSF
 * API Activity. However long it is, no more than a few rows are held at once.
 * @param version of this program, which OCSF names
 */
export async function* populationLines(
  { db, pool }: Store,
  { control, ...scope }: PopulationScope & { control: Control },
  format: 'csv' | 'ocsf',
  version: string,
): AsyncGenerator<string> {
  const origins = format === 'ocsf';
  if (!origins) yield csvCells(REPORT_COLUMNS.map(([name]) => name));
  const { rows } = populationOf(control.population, scope, { origins });
  for await (const { row, origin } of rows(pool, db))
    yield origin
      ? `${JSON.stringify(apiActivity(row, origin, version))}\n`
      : csvCells(REPORT_COLUMNS.map(([, value]) => value(row)));
}
