import { ItemProblem } from './decode-approval.js';

/** What is wrong with one item of many. */
export interface RowProblem {
  /** From 1, in the list that was given. */
  row: number;
  problem: string;
}

/** An item that could be read, with its place. */
export interface DecodedRow<T> {
  row: number;
  value: T;
}

/** Reads each item; one that can't be read costs no other. */
export function decodeEach<T>(
  items: readonly unknown[],
  decode: (item: unknown) => T,
): { decoded: DecodedRow<T>[]; problems: RowProblem[] } {
  const decoded: DecodedRow<T>[] = [];
  const problems: RowProblem[] = [];
  for (const [i, item] of items.entries()) {
    const row = i + 1;
    try {
      decoded.push({ row, value: decode(item) });
    } catch (error) {
      if (!(error instanceof ItemProblem)) throw error;
      problems.push({ row, problem: error.message });
    }
  }
  return { decoded, problems };
}
