/** What a failed transaction means for its batch. */
export type StoreFailure =
  /** Postgres is away, restarting, out of space or out of connections: the batch is fine. */
  | 'unavailable'
  /** Lost a race; the same transaction may succeed at once. */
  | 'retry'
  /** Postgres refused the data: some event in the batch can't be stored. */
  | 'refused';

/** SQLSTATE classes (PostgreSQL documentation, appendix A) in which the data itself is at fault. */
const DATA_CLASSES = new Set(['21', '22', '23', '54']);
const RETRY_STATES = new Set(['40001', '40P01', '55P03']);

export function storeFailure(error: unknown): StoreFailure {
  if (error instanceof RangeError || error instanceof TypeError) return 'refused';
  const state = (error as { code?: unknown }).code;
  if (typeof state !== 'string' || !/^[0-9A-Z]{5}$/.test(state)) return 'unavailable';
  if (RETRY_STATES.has(state)) return 'retry';
  return DATA_CLASSES.has(state.slice(0, 2)) ? 'refused' : 'unavailable';
}
