import { isProvable } from './controls.js';
import { gapText } from './gap.js';
import { completenessStatement, plainTime, type Report, type ReportRow } from './report.js';

/** A report as one HTML file without scripts or links to elsewhere, made to be printed. */
export function reportHtml(report: Report, generatedAt: string): string {
  const { control } = report;
  const [since, until] = [plainTime(report.since), plainTime(report.until)];
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>${text(`${control.framework} ${control.reference}, ${since} to ${until}`)}</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid #ccc; overflow-wrap: anywhere }
th { overflow-wrap: normal } th[scope=row] { width: 14% }
.rows { table-layout: fixed } .rows code { display: block; font-size: .75em; color: #555 }
.when, .approvers { width: 9% } .commits { width: 10.5% } .where { width: 13% } .by { width: 16% } .verdict { width: 17% }
code { font-size: .9em } .bad { color: #a40000; font-weight: 600 } .signature td, .line { height: 3rem }
@page { size: landscape }
@media print { body { margin: 0; max-width: none; font-size: 9pt } h2 { break-after: avoid } tr { break-inside: avoid } .signoff { break-before: page } }
</style>
<h1>${text(`${control.framework} ${control.reference}`)}</h1>
<p>${text(control.statement)}</p>
<table>
${fact('Period', `${since} until ${until} (not included), UTC`)}
${fact('Clusters', report.clusters.join(', ') || 'all')}
${report.environments.length > 0 ? fact('Environments', report.environments.join(', ')) : ''}
${fact('Population', `${report.rows} ${report.rows === 1 ? 'row' : 'rows'}`)}
${fact('Question', report.query)}
${fact('Digest of the population', report.populationDigest)}
${report.policies.length > 0 ? fact('Policy', report.policies.join(', ')) : ''}
<tr><th scope="row">Completeness<td${report.completeness.verdict === 'incomplete' ? ' class="bad"' : ''}>${text(completenessStatement(report))}
</table>
${report.gaps.length > 0 ? gaps(report) : ''}<h2>Exceptions (${report.exceptionRows})</h2>
${report.exceptions.length === 0 ? '<p>None.</p>' : rows(report.exceptions)}
${report.exceptionRows > report.exceptions.length ? `<p>The first ${report.exceptions.length} of ${report.exceptionRows}.</p>` : ''}
<h2>What there is</h2>
<table><tr><th>What<th>Rows
${report.counts.map(({ what, rows: count }) => `<tr><td>${text(what)}<td>${count}`).join('\n')}
</table>
<h2>Sample (${report.sample.rows.length})</h2>
<p>Drawn by the order of SHA-256(seed, NUL, id) with the seed <code>${text(report.sample.seed)}</code>: anyone draws the same again.</p>
${report.sample.rows.length === 0 ? '<p>The population is empty.</p>' : rows(report.sample.rows)}
<h2>Proof</h2>
<p>${isProvable(control.population) ? proofs(control.id) : 'The rows above are of the ledger itself: the signed log holds none of them.'}</p>
<section class="signoff">
<h2>Sign-off</h2>
<p>${text(`${control.framework} ${control.reference}`)}, ${text(since)} until ${text(until)}: population of ${report.rows},
${report.exceptionRows} exceptions, digest <code>${text(report.populationDigest)}</code>.</p>
<table>
<tr><th>Exceptions looked at<td class="line">
<tr><th>Sample looked at<td class="line">
<tr><th>Conclusion<td class="line">
<tr><th>What remains to be done, by whom, until when<td class="line">
</table>
<table class="signature"><tr><th>Role<th>Name<th>Date<th>Signature
<tr><td>Prepared by<td><td><td><tr><td>Reviewed by<td><td><td><tr><td>Approved by<td><td><td></table>
</section>
<p><small>Generated ${text(generatedAt)}</small></p>
</html>
`;
}

function proofs(id: string): string {
  return `Each change's event, and each verdict, is in the signed log. <code>whochanged report ${text(id)} --proofs FOLDER</code> writes
the proofs of all rows above, which <code>whochanged-verify report FOLDER</code> checks without trusting the server.`;
}

function gaps({ gaps: known, completeness }: Report): string {
  const lines = known.map(
    (gap) => `<tr><td>${text(gap.cluster)}<td>${text(gap.source)}<td>${text(gapText(gap))}`,
  );
  const more =
    completeness.gaps > known.length ? `<p>The last ${known.length} of ${completeness.gaps}.</p>` : '';
  return `<h2>Gaps (${completeness.gaps})</h2>
<table><tr><th>Cluster<th>Source<th>What is missing
${lines.join('\n')}
</table>
${more}`;
}

function fact(name: string, value: string): string {
  return `<tr><th scope="row">${text(name)}<td>${text(value)}`;
}

const HEAD: ReadonlyArray<[className: string, name: string]> = [
  ['when', 'Time, UTC'],
  ['where', 'Where'],
  ['what', 'What'],
  ['by', 'By'],
];
const JUDGED: typeof HEAD = [
  ['verdict', 'Verdict'],
  ['commits', 'Commits'],
  ['approvers', 'Approved by'],
];

function rows(items: ReportRow[]): string {
  const judged = items.some(({ verdict }) => verdict !== undefined);
  const head = judged ? [...HEAD, ...JUDGED] : HEAD;
  const lines = items.map((row) => {
    const where = [row.cluster, row.namespace, row.object].filter((part) => part !== '').join(' ');
    const cells = [
      when(row.at),
      words(where),
      `${words(row.summary)}<code>${text(row.id)}</code>`,
      words(row.actor),
    ];
    if (judged)
      cells.push(
        words([row.verdict, row.detail].filter(Boolean).join(': ')),
        words((row.commits ?? []).map((sha) => sha.slice(0, 12)).join(' ')),
        words((row.approvers ?? []).join(', ')),
      );
    return `<tr>${cells.map((cell) => `<td>${cell}`).join('')}`;
  });
  const heads = head.map(([className, name]) => `<th class="${className}">${name}`).join('');
  return `<table class="rows"><thead><tr>${heads}<tbody>\n${lines.join('\n')}\n</table>`;
}

/** A time to the second for the eye, whole for who looks closer. */
function when(at: string): string {
  return `<time datetime="${text(at)}" title="${text(at)}">${text(at.slice(0, 19).replace('T', ' '))}</time>`;
}

/** Text that may be broken where its parts end: names of service accounts, paths and images have no spaces. */
function words(value: string): string {
  return text(value).replace(/[:/@]/g, '$&<wbr>');
}

function text(value: string): string {
  return value
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
