/** What the values stand over. */
export interface Axis {
  label: string;
  logarithmic: boolean;
  /** Where a number stands on it. */
  marked(value: number): boolean;
}

export const EVENTS: Axis = { label: 'events in the ledger', logarithmic: true, marked: () => true };
export const MINUTES: Axis = {
  label: 'minutes',
  logarithmic: false,
  marked: (minute) => minute === 1 || minute % 10 === 0,
};

/** A chart: one line a name; values stand over the axis' places, undefined where nothing was measured. */
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

/** Charts side by side over the same places on an axis, as an SVG file's text. */
export function plotSvg(places: readonly number[], charts: readonly Chart[], axis = EVENTS): string {
  const most = Math.max(...charts.map(({ lines }) => lines.length));
  const height = HEIGHT + most * LEGEND_LINE + 10;
  const drawn = charts.map(
    (chart, i) => `<g transform="translate(${i * WIDTH},0)">${draw(places, chart, axis)}</g>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH * charts.length} ${height}" font-family="sans-serif" font-size="11">
<title>${charts.map(({ title }) => title).join('; ')}</title>
<rect width="100%" height="100%" fill="#fff"/>
${drawn.join('\n')}
</svg>
`;
}

function draw(places: readonly number[], { title, lines }: Chart, axis: Axis): string {
  const top = Math.max(1, ...lines.flatMap(({ values }) => values.map((value) => value ?? 0)));
  const ceiling = niceCeiling(top);
  const at = axis.logarithmic ? places.map(Math.log10) : places;
  const first = Math.min(...at);
  const span = Math.max(...at) - first || 1;
  const x = (i: number) => LEFT + ((at[i]! - first) / span) * PLOT_WIDTH;
  const y = (value: number) => TOP + PLOT_HEIGHT * (1 - value / ceiling);
  const grid = [0, 0.5, 1].map(
    (share) =>
      `<line x1="${LEFT}" x2="${LEFT + PLOT_WIDTH}" y1="${y(share * ceiling)}" y2="${y(share * ceiling)}" stroke="#ddd"/>` +
      `<text x="${LEFT - 6}" y="${y(share * ceiling) + 4}" text-anchor="end">${share * ceiling}</text>`,
  );
  const marks = places.flatMap((place, i) =>
    axis.marked(place)
      ? [`<text x="${x(i)}" y="${TOP + PLOT_HEIGHT + 16}" text-anchor="middle">${shortNumber(place)}</text>`]
      : [],
  );
  const drawn = lines.map(({ name, values }, i) => {
    const style = `stroke="${COLOURS[i % COLOURS.length]}" stroke-dasharray="${DASHES[Math.floor(i / COLOURS.length) % DASHES.length]}"`;
    const points = values.flatMap((value, n) => (value === undefined ? [] : [`${x(n)},${y(value)}`]));
    const legend = HEIGHT + i * LEGEND_LINE;
    return (
      `<polyline points="${points.join(' ')}" fill="none" stroke-width="1.8" ${style}/>` +
      `<line x1="${LEFT}" x2="${LEFT + 24}" y1="${legend - 4}" y2="${legend - 4}" stroke-width="1.8" ${style}/>` +
      `<text x="${LEFT + 30}" y="${legend}">${name}</text>`
    );
  });
  return `<text x="${LEFT}" y="20" font-weight="bold">${title}</text>${[...grid, ...marks, ...drawn].join('')}<text x="${LEFT + PLOT_WIDTH / 2}" y="${TOP + PLOT_HEIGHT + 30}" text-anchor="middle">${axis.label}</text>`;
}

function shortNumber(value: number): string {
  if (value >= 1e6) return `${value / 1e6}M`;
  return value >= 1e3 ? `${value / 1e3}k` : String(value);
}

/** The next of 1, 2, 5 times a power of ten. */
function niceCeiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((ceiling) => ceiling >= value)!;
}
