import type { ReportFormat } from '../core/report/formats.js';
import { reportHtml } from '../core/report/html.js';
import { reportLines } from '../core/report/ndjson.js';
import { oscalResults } from '../core/report/oscal.js';
import { completenessStatement, type Report } from '../core/report/report.js';
import { TAR_END, tarFile } from '../core/tar.js';
import { reportProofs } from '../store/log/report-proofs.js';
import { populationLines } from '../store/queries/population-lines.js';
import type { Store } from '../store/tenant.js';

/**
 * A report as a file, piece by piece: populations are of any length.
 * @param made when, RFC 3339, and by which version of this program
 * @throws WhochangedError `conflict` for proofs before the first checkpoint
 */
export async function* reportFile(
  store: Store,
  report: Report,
  format: ReportFormat,
  made: { generatedAt: string; version: string },
): AsyncGenerator<string | Uint8Array> {
  const { generatedAt, version } = made;
  switch (format) {
    case 'html':
      yield reportHtml(report, generatedAt);
      return;
    case 'json':
      yield JSON.stringify({ ...report, completenessStatement: completenessStatement(report), generatedAt });
      return;
    case 'ndjson':
      yield* reportLines(report, generatedAt);
      return;
    case 'oscal':
      yield JSON.stringify(oscalResults(report, generatedAt, version));
      return;
    case 'proofs':
      for await (const { name, content } of reportProofs(store, report)) yield* tarFile(name, content);
      yield TAR_END;
      return;
    default:
      yield* populationLines(store, report, format, version);
  }
}
