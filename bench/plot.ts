/** A chart: one line a name; values stand at the sizes, undefined where nothing was measured. */
export interface Chart {
  title: string;
  lines: Array<{ name: string; values: Array<number | undefined> }>;
}

const WIDTH = 330;
const HEIGHT = 230;
const LEFT = 44;
const TOP = 34;
const PLOT_WIDTH = 260;
const PLOT_HEIGHT = 160;
const LEGEND_LINE = 14;
/** Told apart by colour and by dashes: some see no colours. */
const COLOURS = ['#0b62a4', '#b4500b', '#1a7f37', '#7a3ea8', '#a4133c'];
const DASHES = ['', '6 3', '2 2', '8 3 2 3'];

/** Charts side by side over sizes on a logarithmic axis, as an SVG file's text. */
export function plotSvg(sizes: readonly number[], charts: readonly Chart[]): string {
  const most = Math.max(...charts.map(({ lines }) => lines.length));
  const height = HEIGHT + most * LEGEND_LINE + 10;
  const drawn = charts.map(
    (chart, i) => `<g transform="translate(${i * WIDTH},0)">${draw(sizes, chart)}</g>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH * charts.length} ${height}" font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="#fff"/>
${drawn.join('\n')}
</svg>
`;
}

function draw(sizes: readonly number[], { title, lines }: Chart): string {
  const top = Math.max(1, ...lines.flatMap(({ values }) => values.map((value) => value ?? 0)));
  const ceiling = niceCeiling(top);
  const logs = sizes.map(Math.log10);
  const span = Math.max(...logs) - Math.min(...logs) || 1;
  const x = (i: number) => LEFT + ((logs[i]! - Math.min(...logs)) / span) * PLOT_WIDTH;
  const y = (value: number) => TOP + PLOT_HEIGHT * (1 - value / ceiling);
  const grid = [0, 0.5, 1].map(
    (share) =>
      `<line x1="${LEFT}" x2="${LEFT + PLOT_WIDTH}" y1="${y(share * ceiling)}" y2="${y(share * ceiling)}" stroke="#ddd"/>` +
      `<text x="${LEFT - 6}" y="${y(share * ceiling) + 4}" text-anchor="end">${share * ceiling}</text>`,
  );
  const axis = sizes.map(
    (size, i) =>
      `<text x="${x(i)}" y="${TOP + PLOT_HEIGHT + 16}" text-anchor="middle">${size >= 1e6 ? `${size / 1e6}M` : `${size / 1e3}k`}</text>`,
  );
  const drawn = lines.map(({ name, values }, i) => {
    const style = `stroke="${COLOURS[i % COLOURS.length]}" stroke-dasharray="${DASHES[Math.floor(i / COLOURS.length) % DASHES.length]}"`;
    const points = values.flatMap((value, at) => (value === undefined ? [] : [`${x(at)},${y(value)}`]));
    const legend = HEIGHT + i * LEGEND_LINE;
    return (
      `<polyline points="${points.join(' ')}" fill="none" stroke-width="1.8" ${style}/>` +
      `<line x1="${LEFT}" x2="${LEFT + 24}" y1="${legend - 4}" y2="${legend - 4}" stroke-width="1.8" ${style}/>` +
      `<text x="${LEFT + 30}" y="${legend}">${name}</text>`
    );
  });
  return `<text x="${LEFT}" y="20" font-weight="bold">${title}</text>${[...grid, ...axis, ...drawn].join('')}<text x="${LEFT + PLOT_WIDTH / 2}" y="${TOP + PLOT_HEIGHT + 30}" text-anchor="middle">events in the ledger</text>`;
}

/** The next of 1, 2, 5 times a power of ten. */
function niceCeiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((ceiling) => ceiling >= value)!;
}
