import type { Colors } from './colors.js';
import { clip, pad, safe, widthOf } from './text.js';

export interface Column<T> {
  head: string;
  value: (row: T) => string;
  /** The column that gives way first when the terminal is too narrow; one per table. */
  flexible?: boolean;
  /** The most columns of the terminal that it takes while room is short. */
  most?: number;
  paint?: (text: string, row: T) => string;
}

/** A table of a terminal's width: one line a row, and a second, dim one where `note` says something. */
export function renderTable<T>(
  columns: Column<T>[],
  rows: T[],
  options: { width: number; colors: Colors; note?: (row: T) => string | undefined },
): string {
  const cells = rows.map((row) => columns.map((column) => safe(column.value(row))));
  const widths = columns.map((column, i) =>
    Math.max(widthOf(column.head), ...cells.map((line) => widthOf(line[i]!))),
  );
  const gaps = (columns.length - 1) * 2;
  const flexible = columns.findIndex((column) => column.flexible);
  const needed = widths.reduce((sum, width) => sum + width, gaps);
  if (needed > options.width) {
    for (const [i, column] of columns.entries())
      if (column.most !== undefined) widths[i] = Math.min(widths[i]!, column.most);
  }
  const excess = widths.reduce((sum, width) => sum + width, gaps) - options.width;
  if (flexible >= 0 && excess > 0) widths[flexible] = Math.max(16, widths[flexible]! - excess);
  const last = columns.length - 1;
  const line = (texts: string[], paint: (text: string, i: number) => string) =>
    texts
      .map((text, i) =>
        paint(i === last ? clip(text, widths[i]!) : pad(clip(text, widths[i]!), widths[i]!), i),
      )
      .join('  ')
      .trimEnd();
  const lines = [
    options.colors.bold(
      line(
        columns.map((column) => column.head),
        (text) => text,
      ),
    ),
  ];
  for (const [i, row] of rows.entries()) {
    lines.push(line(cells[i]!, (text, column) => columns[column]!.paint?.(text, row) ?? text));
    const note = options.note?.(row);
    if (note !== undefined) lines.push(options.colors.dim(clip(`  └ ${safe(note)}`, options.width)));
  }
  return `${lines.join('\n')}\n`;
}
