import { MAX_DEPTH } from '../../core/decode.js';
import { isNestedDeeper, parseJson } from '../../core/parse-json.js';
import { isAuditEvent, type Loose, type ParsedRecord } from './format-reader.js';
import type { Item } from './item.js';
import { salvageEvent } from './salvage.js';

/** How often a text may hold a text before it is given up. */
const MAX_NESTING = 4;

/**
 * What a field that should hold an event holds: an event, other JSON, JSON that is cut, JSON that is nested too deeply to
 * be worked with, or no JSON.
 */
export type Wrapped =
  | { found: 'event'; value: Loose }
  | { found: 'other'; value: unknown }
  | { found: 'cut'; text: string }
  | { found: 'deep' }
  | { found: 'text' };

/** Looks into a field of an envelope: a nested object, JSON text, or text of text, with blanks around it or not. */
export function unwrap(content: unknown, nesting = 0): Wrapped {
  if (typeof content !== 'string')
    return isAuditEvent(content)
      ? { found: 'event', value: content as Loose }
      : { found: 'other', value: content };
  const text = content.replace(/^\uFEFF/, '').trim();
  const first = text.charAt(0);
  if ((first !== '{' && first !== '"') || nesting === MAX_NESTING) return { found: 'text' };
  try {
    const value = parseJson(text);
    return isNestedDeeper(value, MAX_DEPTH) ? { found: 'deep' } : unwrap(value, nesting + 1);
  } catch {
    return first === '{' ? { found: 'cut', text } : { found: 'text' };
  }
}

/** The event that a cut text still gives, or the problem that it is. */
export function salvaged(text: string, time: unknown, record: ParsedRecord): Item {
  const { size, place } = record;
  const value = salvageEvent(text, time);
  return value
    ? { type: 'event', value, size, place, salvaged: true }
    : { type: 'problem', problem: 'truncated_record', text, size, place };
}

/** Whether a cut text began as an audit event. */
export function looksLikeEvent(text: string): boolean {
  return /^\s*\{\s*"(?:kind"\s*:\s*"Event"|apiVersion"\s*:\s*"audit\.k8s\.io\/|level"|auditID")/.test(text);
}
