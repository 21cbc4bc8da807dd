import { createHash } from 'node:crypto';
import { type RawBuilder, sql } from 'kysely';
import pg from 'pg';

const MARK = '/*prepared*/';

/** The texts are the program's own and few: `prepared` takes statements whose text never varies with their values. */
const names = new Map<string, string>();

/**
 * Marks a statement to be prepared once in each connection (PostgreSQL documentation, PREPARE). Planning a dozen joins
 * over partitioned tables takes ten times as long as running them, and grows with the number of partitions; after five
 * runs Postgres keeps a plan and leaves out at run time the partitions that a value rules out.
 * The text must be the same whatever the values (arrays as parameters, no lists of placeholders), and a plan made
 * without knowing them must be good for all: look-ups by key.
 */
export function prepared<T>(statement: RawBuilder<T>): RawBuilder<T> {
  return sql<T>`${sql.raw(MARK)} ${statement}`;
}

/** The same for a statement that is a text. */
export function preparedText(text: string): string {
  return `${MARK} ${text}`;
}

/** A connection that prepares what is marked so. */
export class PreparingClient extends pg.Client {
  // pg overloads `query` by what it is given; only a text with its values concerns us.
  override query(...args: unknown[]): never {
    const [text, values, ...rest] = args;
    const given =
      typeof text === 'string' && text.startsWith(MARK)
        ? [{ name: nameOf(text), text }, values, ...rest]
        : args;
    return (super.query as (...given: unknown[]) => unknown).apply(this, given) as never;
  }
}

function nameOf(text: string): string {
  let name = names.get(text);
  if (name === undefined) {
    // Postgres cuts names at 63 bytes.
    name = createHash('sha256').update(text).digest('hex').slice(0, 32);
    names.set(text, name);
  }
  return name;
}
