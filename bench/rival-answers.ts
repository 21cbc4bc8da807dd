import { percentiles } from './asked.js';
import type { RivalAnswer, RivalQuestion, RivalStore } from './rival-store.js';
import { type Place, SAME_QUESTIONS } from './same-questions.js';

/** After so long there are no more samples of a question: one of them may take minutes. */
const MOST_MS = 60_000;
/** As many as whochanged has that don't count, where one takes less than a second. */
const WARM_UP = 8;
const QUICK_MS = 1000;

/** What came of asking one store one question. */
export interface Cell {
  p50: number;
  /** Of few samples, the slowest. */
  p99: number;
  rows: number;
  samples: number;
  /** Where not all was read that the question is about: at most how many events were. */
  of?: number;
}

/** One store's answers, by question. */
export interface Column {
  title: string;
  /** What it takes on disk, or why it was not run. */
  note: string;
  cells: ReadonlyMap<string, Cell>;
}

/** Asks one question, one sample after the other, each at another place. */
export async function askRival(
  store: RivalStore,
  question: RivalQuestion,
  places: readonly Place[],
  samples: number,
): Promise<Cell> {
  const took: number[] = [];
  let rows = 0;
  let of: number | undefined;
  const sample = async (i: number) => {
    const started = performance.now();
    const answer: RivalAnswer = await store.ask(question, places[i % places.length]!);
    const ms = performance.now() - started;
    rows = Math.max(rows, answer.rows);
    if (answer.of !== undefined) of = Math.max(of ?? 0, answer.of);
    return ms;
  };
  const until = performance.now() + MOST_MS;
  const first = await sample(0);
  if (first < QUICK_MS) for (let i = 1; i < WARM_UP; i++) await sample(0);
  else took.push(first);
  while (took.length < samples && (took.length === 0 || performance.now() < until))
    took.push(await sample(took.length));
  const { p50, p99 } = percentiles(took);
  return { p50, p99, rows, samples: took.length, ...(of !== undefined && { of }) };
}

const WIDTH = 31;
const figure = (ms: number) => ms.toFixed(ms < 100 ? 1 : 0).padStart(9);

function cellText(cell: Cell, samples: number): string {
  const fewer = cell.samples < samples ? `x${cell.samples}` : '';
  return `${figure(cell.p50)}${figure(cell.p99)}${String(cell.rows).padStart(4)} ${fewer.padEnd(3)}${cell.of === undefined ? '' : '*'}`;
}

/** Prints a line for each question, then what each store takes, and what isn't as the others. */
export function printTable(columns: readonly Column[], samples: number): void {
  const titles = columns.map(({ title }) => title.padStart(22).padEnd(WIDTH)).join('');
  console.log(`${'question'.padEnd(28)}${titles}`.trimEnd());
  for (const { name, rivals } of SAME_QUESTIONS) {
    const cells = columns.map(({ cells }) => {
      const cell = cells.get(name);
      if (cell) return cellText(cell, samples);
      return (rivals ? 'not run' : 'cannot answer').padStart(22);
    });
    console.log(`${name.padEnd(28)}${cells.map((text) => text.padEnd(WIDTH)).join('')}`.trimEnd());
  }
  for (const { title, note } of columns) console.log(`${title.padEnd(28)}${note}`);
  const parts = columns.flatMap(({ cells }) => [...cells.values()].flatMap(({ of }) => of ?? []));
  if (parts.length > 0)
    console.log(
      `* of no more than the newest ${Math.max(...parts).toLocaleString('en')} events that may hold an answer: reading all would take longer`,
    );
  for (const { name } of SAME_QUESTIONS) {
    const rows = columns.flatMap(({ title, cells }) => {
      const cell = cells.get(name);
      return cell ? [`${title} ${cell.rows}`] : [];
    });
    if (new Set(rows.map((text) => text.split(' ').at(-1))).size > 1)
      console.log(`rows differ: ${name}: ${rows.join(', ')}`);
  }
}
