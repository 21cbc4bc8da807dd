import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { Density } from '../answers.ts';

const HEIGHT = 132;
/** The least between two labels of the time axis, in pixels: `13:38:10` and some air. */
const LABEL_SPACE = 76;
/** A drag shorter than this, in pixels, is a click. */
const LEAST_DRAG = 4;

/**
 * Labels of the time axis, a row for each least distance of ticks: what stands at every tick, and what besides where a new
 * year, day or minute begins. 24 hours, as everywhere here.
 */
const TIME_LABELS: uPlot.Axis.Values = [
  [31_536_000, '{YYYY}', null, null, null, null, null, null, 1],
  [2_419_200, '{MMM}', '\n{YYYY}', null, null, null, null, null, 1],
  [86_400, '{D} {MMM}', '\n{YYYY}', null, null, null, null, null, 1],
  [60, '{HH}:{mm}', '\n{D} {MMM} {YYYY}', null, '\n{D} {MMM}', null, null, null, 1],
  [1, '{HH}:{mm}:{ss}', '\n{D} {MMM} {YYYY}', null, '\n{D} {MMM}', null, null, null, 1],
];

/** Bars over time, in UTC. Dragging over them tells the window that was brushed. */
export function drawDensity(
  box: HTMLElement,
  data: [number[], number[]],
  { since, until, bucketSeconds }: Density,
  onbrush: (since: string, until: string) => void,
): uPlot {
  const style = getComputedStyle(box);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const axis = {
    stroke: colour('--faint'),
    grid: { stroke: colour('--line'), width: 1 },
    ticks: { show: false },
    font: '12px system-ui, sans-serif',
  };
  return new uPlot(
    {
      width: box.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), 'Etc/UTC'),
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
      scales: {
        x: { time: true, range: () => [Date.parse(since) / 1000, Date.parse(until) / 1000] },
        y: { range: (_chart, _least, most) => [0, Math.max(1, most)] },
      },
      axes: [
        { ...axis, values: TIME_LABELS, space: LABEL_SPACE },
        { ...axis, size: 44, splits: (_chart, _axis, _least, most) => [0, Math.round(most)] },
      ],
      series: [
        {},
        {
          fill: colour('--accent'),
          stroke: colour('--accent'),
          width: 0,
          points: { show: false },
          // A bar begins where its bucket does.
          paths: uPlot.paths.bars!({ size: [0.86, 24, 1], align: 1 }),
        },
      ],
      hooks: {
        setSelect: [
          (chart) => {
            const { left, width } = chart.select;
            if (width < LEAST_DRAG) return;
            const from = Math.round(chart.posToVal(left, 'x'));
            const to = Math.round(chart.posToVal(left + width, 'x'));
            const text = (seconds: number) => new Date(seconds * 1000).toISOString();
            onbrush(text(from), text(Math.max(to, from + Math.max(1, Math.round(bucketSeconds / 60)))));
          },
        ],
      },
    },
    data,
    box,
  );
}
