import { EVENT_CLASSES, type EventClass } from '../vocabulary.js';

/**
 * How many days events of each class, and the changes they made, stay in the database before they go to the archive.
 * A class that isn't named stays.
 */
export type RetentionPolicy = ReadonlyMap<EventClass, number>;

/** Jobs look back over the last days (completeness, late evidence): nothing younger may leave. */
export const MIN_KEEP_DAYS = 3;
const MAX_KEEP_DAYS = 36_500;
/** Stands for every class that isn't named. */
const REST = 'all';

/**
 * Reads `read=7d`, `change=730d`, `all=90d`, ... A later word for the same class is an error.
 * @throws RangeError naming the word that is wrong, and what to write instead
 */
export function parseRetention(words: readonly string[]): RetentionPolicy {
  const named = new Map<string, number>();
  for (const word of words) {
    const match = /^([a-z_]+)=(\d{1,5})d$/.exec(word);
    if (!match) throw new RangeError(`"${word.slice(0, 40)}" is not CLASS=DAYSd, such as read=7d`);
    const [, name, days] = match as unknown as [string, string, string];
    if (name !== REST && !(EVENT_CLASSES as readonly string[]).includes(name))
      throw new RangeError(
        `there is no class ${name}; those there are: ${[...EVENT_CLASSES, REST].join(', ')}`,
      );
    if (named.has(name)) throw new RangeError(`${name} stands there twice`);
    const keep = Number(days);
    if (keep < MIN_KEEP_DAYS || keep > MAX_KEEP_DAYS)
      throw new RangeError(`${word}: expected ${MIN_KEEP_DAYS}d to ${MAX_KEEP_DAYS}d`);
    named.set(name, keep);
  }
  const policy = new Map<EventClass, number>();
  for (const item of EVENT_CLASSES) {
    const days = named.get(item) ?? named.get(REST);
    if (days !== undefined) policy.set(item, days);
  }
  return policy;
}

/** The same policy is always the same text: what tells whether it has changed. */
export function formatRetention(policy: RetentionPolicy): string {
  return EVENT_CLASSES.filter((item) => policy.has(item))
    .map((item) => `${item}=${policy.get(item)}d`)
    .join(',');
}

const DAY_MICROS = 86_400_000_000;

/** Classes that are kept equally long, and up to when their events are due: the beginning of a day, UTC, microseconds. */
export interface DueClasses {
  classes: EventClass[];
  keepDays: number;
  until: number;
}

export function dueClasses(policy: RetentionPolicy, nowMicros: number): DueClasses[] {
  const today = Math.floor(nowMicros / DAY_MICROS) * DAY_MICROS;
  const groups = new Map<number, EventClass[]>();
  for (const [item, days] of policy) groups.set(days, [...(groups.get(days) ?? []), item]);
  return [...groups]
    .sort(([a], [b]) => a - b)
    .map(([keepDays, classes]) => ({ classes, keepDays, until: today - keepDays * DAY_MICROS }));
}
