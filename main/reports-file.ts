import { readFileSync } from 'node:fs';
import { type ReportDelivery, readDeliveries } from '../core/report/delivery.js';
import { parseCheckedYaml } from '../store/checked-yaml.js';
import { parseS3Place } from '../store/s3-place.js';

/**
 * The deliveries in the file that WHOCHANGED_REPORTS_FILE names; none where it names none. Read at the start.
 * @throws WhochangedError `invalid_request` with every problem and its line
 */
export function loadDeliveries(file: string | undefined): ReportDelivery[] {
  if (file === undefined) return [];
  const origin = { name: `WHOCHANGED_REPORTS_FILE ${file}`, hint: 'docs/reports.md tells of every setting' };
  const { value, invalid } = parseCheckedYaml(readFileSync(file, 'utf8'), origin);
  const read = readDeliveries(value);
  if ('problems' in read) throw invalid(read.problems);
  for (const [i, { to }] of read.deliveries.entries())
    if (to !== undefined)
      try {
        parseS3Place(to);
      } catch (error) {
        throw invalid([
          {
            path: ['deliveries', i, 'to'],
            problem: `is no place: ${(error as Error).message}`,
            expected: 'a bucket and a folder in it',
            example: 'to: s3://audit-reports/prod/',
          },
        ]);
      }
  return read.deliveries;
}
