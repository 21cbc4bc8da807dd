import type { ReportFormat } from '../../core/report/formats.ts';
import { TAR_END, tarFile } from '../../core/tar.ts';
import { getBlob, type Query } from './api.ts';

/** Forms in which a report can be had, by what they are called. */
export const REPORT_FORMATS: Record<ReportFormat, string> = {
  html: 'HTML',
  csv: 'CSV',
  json: 'JSON',
  ndjson: 'NDJSON',
  oscal: 'OSCAL',
  ocsf: 'OCSF',
  proofs: 'Proof bundle',
};

/** Gives what was made to the user as a file. */
export function save(blob: Blob, name: string): void {
  const address = URL.createObjectURL(blob);
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  // The browser has to have begun to read it.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** A report in one of its forms; the proof bundle is what `whochanged-verify report` checks once it is taken apart. @throws ApiProblem */
export async function reportFile(path: string, query: Query, format: ReportFormat): Promise<Blob> {
  const blob = await getBlob(path, { ...query, format });
  if (format !== 'proofs') return blob;
  const lines = (await blob.text()).split('\n').filter((line) => line !== '');
  const parts = lines.flatMap((line) => {
    const { name, content } = JSON.parse(line) as { name: string; content: string };
    return tarFile(name, content);
  });
  return new Blob([...parts, TAR_END], { type: 'application/x-tar' });
}

/**
 * Prints the report's HTML, which a browser can also save as PDF: within this page, since a window of its own would stand
 * under this page's policy and lose its style, and out of the way of the page's own style.
 */
export async function printReport(html: Blob): Promise<void> {
  const styles: string[] = [];
  // Taken out first: even a document that is never shown is refused inline style.
  const text = (await html.text()).replace(/<style>([\s\S]*?)<\/style>/g, (_, style: string) => {
    styles.push(style.replaceAll('body {', ':host {'));
    return '';
  });
  const made = new DOMParser().parseFromString(text, 'text/html');
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`:host { all: initial } ${styles.join(' ')}`);
  // How a page lies is the document's to say: within the paper it has no effect.
  const pageRule = new CSSStyleSheet();
  pageRule.replaceSync(/@page \{[^}]*\}/.exec(styles.join(' '))?.[0] ?? '');
  const paper = document.createElement('div');
  paper.className = 'paper';
  const root = paper.attachShadow({ mode: 'open' });
  root.adoptedStyleSheets = [sheet];
  root.append(...made.body.childNodes);
  document.querySelector('.paper')?.remove();
  document.adoptedStyleSheets = [];
  document.body.append(paper);
  const title = document.title;
  document.title = made.title;
  document.adoptedStyleSheets.push(pageRule);
  print();
  document.title = title;
}
