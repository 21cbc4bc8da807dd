/** The forms in which a report can be had. */
export const REPORT_FORMATS = ['html', 'json', 'ndjson', 'csv', 'oscal', 'ocsf', 'proofs'] as const;
export type ReportFormat = (typeof REPORT_FORMATS)[number];

/** How a report's file is called behind the dot, and its media type. */
export const REPORT_FILES: Record<ReportFormat, { extension: string; type: string }> = {
  html: { extension: 'html', type: 'text/html; charset=utf-8' },
  json: { extension: 'json', type: 'application/json' },
  ndjson: { extension: 'ndjson', type: 'application/x-ndjson' },
  csv: { extension: 'csv', type: 'text/csv; charset=utf-8' },
  oscal: { extension: 'oscal.json', type: 'application/json' },
  ocsf: { extension: 'ocsf.ndjson', type: 'application/x-ndjson' },
  proofs: { extension: 'proofs.tar', type: 'application/x-tar' },
};
