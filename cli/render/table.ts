import type { Colors } from './colors.js';
import { clip, pad, safe, widthOf, wrap } from './text.js';

export interface Column<T> {
  head: string;
  value: (row: T) => string;
  /** What stands for the value where room is short. */
  short?: (row: T) => string;
  /** Left out where room is short. */
  optional?: boolean;
  /** Takes the room that the others leave; one per table. */
  flexible?: boolean;
  /** The most columns of the terminal that it takes while room is short; what is longer goes on below. */
  most?: number;
  paint?: (text: string, row: T) => string;
}

/** How a table's columns share a terminal's width. */
export interface Layout<T> {
  columns: Column<T>[];
  widths: number[];
  width: number;
  short: boolean;
  /** The last column has lines of its own, below the others. */
  below: boolean;
  /** What each column would take, by its head. */
  natural: Map<string, number>;
}

const GAP = 2;
const INDENT = 4;
/** Less room than this makes prose hard to read. */
const READABLE = 40;
const NARROWEST = 12;
const MOST_LINES = 3;

/** Shares out the width: in full, else with short forms, else without what is optional, else on two levels. */
export function layOut<T>(columns: Column<T>[], rows: T[], width: number, previous?: Layout<T>): Layout<T> {
  const natural = new Map(
    columns.map((column) => [
      column.head,
      Math.max(
        previous?.natural.get(column.head) ?? 0,
        widthOf(column.head),
        ...rows.map((row) => widthOf(safe(column.value(row)))),
      ),
    ]),
  );
  let fitted: Layout<T> | undefined;
  for (const level of [0, 1, 2]) {
    const kept = level < 2 ? columns : columns.filter((column) => !column.optional);
    const widths = kept.map((column) =>
      level === 0 ? natural.get(column.head)! : shortWidth(column, rows, natural.get(column.head)!),
    );
    fitted = { columns: kept, widths, width, short: level > 0, below: false, natural };
    const flexible = kept.findIndex((column) => column.flexible);
    const room = width - total(widths) + (widths[flexible] ?? 0);
    if (flexible < 0 ? room >= 0 : room >= Math.min(widths[flexible]!, READABLE)) {
      if (flexible >= 0) widths[flexible] = Math.min(widths[flexible]!, room);
      return fitted;
    }
  }
  return squeeze(fitted!);
}

function shortWidth<T>(column: Column<T>, rows: T[], natural: number): number {
  const { short } = column;
  const width = short
    ? Math.max(widthOf(column.head), ...rows.map((row) => widthOf(safe(short(row)))))
    : natural;
  return column.most === undefined ? width : Math.min(width, column.most);
}

function squeeze<T>(layout: Layout<T>): Layout<T> {
  const { columns, widths } = layout;
  const flexible = columns.findIndex((column) => column.flexible);
  layout.below = flexible >= 0 && flexible === columns.length - 1;
  const upper = layout.below ? widths.slice(0, -1) : widths;
  if (flexible >= 0 && !layout.below)
    upper[flexible] = Math.max(16, layout.width - total(upper) + upper[flexible]!);
  for (let excess = total(upper) - layout.width; excess > 0; excess--) {
    const mayShrink = upper.map((size, i) => (columns[i]!.most !== undefined && size > NARROWEST ? size : 0));
    const widest = mayShrink.indexOf(Math.max(...mayShrink));
    if (mayShrink[widest] === 0) break;
    upper[widest]!--;
  }
  layout.widths = layout.below ? [...upper, layout.width - INDENT] : upper;
  return layout;
}

function total(widths: number[]): number {
  return widths.reduce((sum, size) => sum + size, (widths.length - 1) * GAP);
}

export function renderHead<T>(layout: Layout<T>, colors: Colors): string {
  return renderLines(
    layout,
    layout.columns.map((column) => [column.head]),
    (text) => colors.bold(text),
  );
}

/** The rows below a head, each followed by a dim line where `note` says something. */
export function renderRows<T>(
  layout: Layout<T>,
  rows: T[],
  colors: Colors,
  note?: (row: T) => string | undefined,
): string {
  let text = '';
  for (const row of rows) {
    const cells = layout.columns.map((column, i) => {
      const value = safe((layout.short && column.short ? column.short : column.value)(row));
      return wrap(value, layout.widths[i]!, MOST_LINES);
    });
    text += renderLines(layout, cells, (cell, i) => layout.columns[i]!.paint?.(cell, row) ?? cell);
    const said = note?.(row);
    if (said === undefined) continue;
    const lines = wrap(safe(said), layout.width - INDENT, 2);
    text += lines.map((line, i) => `${colors.dim(`  ${i === 0 ? '└' : ' '} ${line}`)}\n`).join('');
  }
  return text;
}

function renderLines<T>(
  layout: Layout<T>,
  cells: string[][],
  paint: (text: string, column: number) => string,
): string {
  const { widths } = layout;
  const upper = layout.below ? cells.slice(0, -1) : cells;
  const lines: string[] = [];
  for (let at = 0; at < Math.max(...upper.map((cell) => cell.length)); at++) {
    const last = upper.findLastIndex((cell) => cell[at] !== undefined);
    lines.push(
      upper
        .slice(0, last + 1)
        .map((cell, i) => {
          const text = clip(cell[at] ?? '', widths[i]!);
          return paint(i === last ? text : pad(text, widths[i]!), i);
        })
        .join(' '.repeat(GAP))
        .trimEnd(),
    );
  }
  if (layout.below)
    for (const text of cells.at(-1)!)
      lines.push(`${' '.repeat(INDENT)}${paint(text, cells.length - 1)}`.trimEnd());
  return lines.map((line) => `${line}\n`).join('');
}

/** A whole table of a terminal's width. */
export function renderTable<T>(
  columns: Column<T>[],
  rows: T[],
  options: { width: number; colors: Colors; note?: (row: T) => string | undefined },
): string {
  const layout = layOut(columns, rows, options.width);
  return renderHead(layout, options.colors) + renderRows(layout, rows, options.colors, options.note);
}
