/** A line by RFC 4180. A cell that a spreadsheet would take for a formula is made text by an apostrophe. */
export function csvCells(cells: ReadonlyArray<string | number | undefined>): string {
  return `${cells.map(cell).join(',')}\r\n`;
}

function cell(value: string | number | undefined): string {
  if (value === undefined) return '';
  if (typeof value === 'number') return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
