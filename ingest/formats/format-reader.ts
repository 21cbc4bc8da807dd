import type { Item, Problem, SkipReason } from './item.js';

export type Loose = Readonly<Record<string, unknown>>;

/** One record of an object, parsed. */
export interface ParsedRecord {
  type: 'json' | 'text';
  text: string;
  /** What the JSON holds; its leading fields where it is cut; undefined for text and for what can't be parsed. */
  value: unknown;
  /** The JSON is whole. */
  whole: boolean;
  /** What stood before the JSON on its line. */
  prefix: string;
  /** Whose list it stood in: `items`, `records`, ...; '' for a bare list; undefined where it stood alone. */
  list: string | undefined;
  /** The strings that the object around it had before its list. */
  head: Readonly<Record<string, string>>;
  place: string;
  size: number;
}

/** Takes one format's records apart. Made for one object: it may hold what belongs together. */
export interface FormatReader {
  /** What a whole record holds, or a line of text. */
  read(record: ParsedRecord): Iterable<Item>;
  /** What a record still gives that was broken off before the next one; without this, it is a problem. */
  readCut?(record: ParsedRecord): Iterable<Item>;
  /** What was held back. */
  end?(): Iterable<Item>;
}

/** One format: how it is known by its records, and how they are read. */
export interface FormatDefinition {
  claims(record: ParsedRecord): boolean;
  open(options: { maxItemBytes: number }): FormatReader;
}

export function isObject(value: unknown): value is Loose {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function stringOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** An audit event by what only one has; core/decode.ts says what is wrong with it. */
export function isAuditEvent(value: unknown): boolean {
  if (!isObject(value)) return false;
  if (typeof value.apiVersion === 'string') return value.apiVersion.startsWith('audit.k8s.io/');
  return typeof value.auditID === 'string' && typeof value.stage === 'string';
}

export function skipped(reason: SkipReason, { size }: ParsedRecord): Item {
  return { type: 'skipped', reason, size };
}

export function problem(code: Problem, { text, size, place }: ParsedRecord): Item {
  return { type: 'problem', problem: code, text, size, place };
}

/** An event that the record holds unchanged, or was mapped to. */
export function event(value: unknown, { head, size, place }: ParsedRecord): Item {
  return { type: 'event', value, size, place, apiVersion: head.apiVersion };
}
