import pg from 'pg';

/** What pg's `query` is given: a text, a query of its own, or a cursor. */
type Asked = string | { text?: string; cursor?: { text?: string }; _cursor?: { text?: string } };

/**
 * Tells each statement that this process sends to Postgres from now on.
 * @returns what ends it
 */
export function listenToStatements(tell: (statement: string) => void): () => void {
  const original = pg.Client.prototype.query as (...args: unknown[]) => unknown;
  pg.Client.prototype.query = function (this: pg.Client, ...args: unknown[]) {
    const asked = args[0] as Asked;
    const text = typeof asked === 'string' ? asked : (asked.text ?? (asked.cursor ?? asked._cursor)?.text);
    if (text !== undefined) tell(text);
    return original.apply(this, args);
  } as typeof pg.Client.prototype.query;
  return () => {
    pg.Client.prototype.query = original as typeof pg.Client.prototype.query;
  };
}
