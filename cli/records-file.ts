import { readFileSync } from 'node:fs';
import type { CsvError } from 'csv-parse/sync';
import { CliError, EXIT } from './exit.js';
import { csv } from './on-demand.js';

/** Under what name the systems' own answers hold their list. */
const LISTS = ['items', 'result', 'issues', 'records', 'approvals', 'tickets'];

export interface RecordsFile {
  items: unknown[];
  /** How a person finds an item in the file, by its number from 1. */
  placeOf(row: number): string;
}

/**
 * Reads records of a file: CSV with a head line, a JSON list, JSON of a system's API (`{"result": [...]}`), or JSON one
 * record a line. The content decides, not the name.
 * @throws CliError where it is none of these
 */
export function readRecords(file: string): RecordsFile {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').replace(/^\ufeff/, '');
  } catch (error) {
    throw new CliError(EXIT.usage, `cannot read ${file}: ${(error as NodeJS.ErrnoException).code}`);
  }
  const start = text.trimStart()[0];
  return start === '{' || start === '[' ? readJson(file, text) : readCsv(file, text);
}

function readJson(file: string, text: string): RecordsFile {
  const placeOf = (row: number) => `item ${row}`;
  let whole: unknown;
  try {
    whole = JSON.parse(text);
  } catch (error) {
    const lines = text.split('\n').filter((line) => line.trim() !== '');
    // Lines of their own are told apart from one broken document by their first being whole.
    if (!isJson(lines[0]!)) throw new CliError(EXIT.usage, `${file}: ${(error as Error).message}`);
    return { items: lines.map((line) => (isJson(line) ? (JSON.parse(line) as unknown) : line)), placeOf };
  }
  if (Array.isArray(whole)) return { items: whole, placeOf };
  const list = LISTS.map((name) => (whole as Record<string, unknown>)[name]).find(Array.isArray);
  return { items: list ?? [whole], placeOf };
}

function isJson(line: string): boolean {
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}

function readCsv(file: string, text: string): RecordsFile {
  const lines: number[] = [];
  let items: unknown[];
  try {
    items = csv().parse(text, {
      columns: true,
      trim: true,
      skip_empty_lines: true,
      // Jira repeats the head of a column with several values.
      group_columns_by_name: true,
      relax_column_count: true,
      on_record: (record: unknown, { lines: line }) => {
        lines.push(line);
        return record;
      },
    });
  } catch (error) {
    const { message, lines: line } = error as CsvError & { lines?: number };
    throw new CliError(
      EXIT.usage,
      `${file}${line === undefined ? '' : `, line ${line}`}: ${message}`,
      'expected CSV with a head line, or JSON',
    );
  }
  return { items, placeOf: (row) => `line ${lines[row - 1] ?? row + 1}` };
}
