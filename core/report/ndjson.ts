import { completenessStatement, type Report } from './report.js';

/** A report as lines of JSON: what is said of the whole, then each exception, then each row of the sample. */
export function reportLines(report: Report, generatedAt: string): string[] {
  const { exceptions, sample, ...head } = report;
  const lines = [
    {
      type: 'report',
      ...head,
      completenessStatement: completenessStatement(report),
      seed: sample.seed,
      generatedAt,
    },
    ...exceptions.map((row) => ({ type: 'exception', ...row })),
    ...sample.rows.map((row) => ({ type: 'sample', ...row })),
  ];
  return lines.map((line) => `${JSON.stringify(line)}\n`);
}
