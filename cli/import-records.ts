import { type Context, writeStructured } from './context.js';
import { CliError, EXIT } from './exit.js';
import { readRecords } from './records-file.js';

interface Imported {
  stored: number;
  known: number;
  problems: Array<{ row: number; problem: string }>;
}

const PIECE = 1000;

/**
 * Sends the records of a file piece by piece, and tells each that was refused with its place in the file. What was taken
 * stays taken, and sending the file again does no harm.
 * @throws CliError with exit code 1 where some were refused
 */
export async function importRecords(
  context: Context,
  file: string,
  path: string,
  body: Record<string, unknown> = {},
): Promise<void> {
  const { items, placeOf } = readRecords(file);
  const total: Imported = { stored: 0, known: 0, problems: [] };
  for (let from = 0; from < items.length; from += PIECE) {
    const piece = items.slice(from, from + PIECE);
    const answer = await context.client.post<Imported>(path, { ...body, items: piece });
    total.stored += answer.stored;
    total.known += answer.known;
    for (const { row, problem } of answer.problems) {
      total.problems.push({ row: row + from, problem });
      context.err(`${file}, ${placeOf(row + from)}: ${problem}\n`);
    }
    if (items.length > PIECE) context.err(`${from + piece.length} of ${items.length} sent\n`);
  }
  if (!writeStructured(context, total))
    context.out(`${total.stored} stored, ${total.known} known already, ${total.problems.length} left out\n`);
  if (total.problems.length > 0)
    throw new CliError(
      EXIT.nothing,
      `${total.problems.length} of ${items.length} records were left out`,
      'mend them and import the file again: the others do no harm twice',
    );
}
