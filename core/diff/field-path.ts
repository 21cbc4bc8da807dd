import { WhochangedError } from '../errors.js';

/** One step into an object: a map key, a list item by its merge key, or a list item by position. */
export type PathSegment = { key: string } | { item: string } | { index: number };

const PLAIN_KEY = /^[A-Za-z_][A-Za-z0-9_-]*$/;
const PLAIN_ITEM = /^[A-Za-z_./][^\]"[\\]*$|^\d+\/[^\]"[\\]+$/;

/** `spec.template.spec.containers[web].image`; keys with other characters as `["a.b/c"]`; positions as `[0]`. */
export function formatFieldPath(segments: readonly PathSegment[]): string {
  let text = '';
  for (const segment of segments) text = appendSegment(text, segment);
  return text;
}

export function appendSegment(path: string, segment: PathSegment): string {
  if ('index' in segment) return `${path}[${segment.index}]`;
  if ('item' in segment)
    return `${path}[${PLAIN_ITEM.test(segment.item) ? segment.item : `=${JSON.stringify(segment.item)}`}]`;
  if (!PLAIN_KEY.test(segment.key)) return `${path}[${JSON.stringify(segment.key)}]`;
  return path === '' ? segment.key : `${path}.${segment.key}`;
}

function unquoted(text: string): string | undefined {
  try {
    return JSON.parse(text) as string;
  } catch {
    return undefined;
  }
}

const QUOTED = /"(?:[^"\\]|\\.)*"/y;

/** @throws WhochangedError `invalid_request` saying at which character */
export function parseFieldPath(text: string): PathSegment[] {
  const segments: PathSegment[] = [];
  let at = 0;
  const fail = (what: string): never => {
    throw new WhochangedError(
      'invalid_request',
      `field path: ${what} at character ${at + 1} of "${text.slice(0, 200)}"`,
      {
        hint: 'write it like spec.template.spec.containers[web].image or metadata.annotations["example.com/key"]',
      },
    );
  };
  while (at < text.length) {
    if (text[at] === '[') {
      at++;
      const item = text[at] === '=';
      if (item) at++;
      if (text[at] === '"') {
        QUOTED.lastIndex = at;
        const match = QUOTED.exec(text);
        if (!match) fail('unterminated quote');
        const value = unquoted(match![0]) ?? fail('a quoted name that is no JSON string');
        segments.push(item ? { item: value } : { key: value });
        at = QUOTED.lastIndex;
      } else {
        const end = text.indexOf(']', at);
        if (end < 0) fail('missing ]');
        const inner = text.slice(at, end);
        if (inner === '') fail('empty [ ]');
        segments.push(/^\d+$/.test(inner) ? { index: Number(inner) } : { item: inner });
        at = end;
      }
      if (text[at] !== ']') fail('expected ]');
      at++;
    } else {
      if (at > 0) {
        if (text[at] !== '.') fail('expected . or [');
        at++;
      }
      const match = /^[^.[\]"]+/.exec(text.slice(at));
      if (!match) fail('expected a key');
      segments.push({ key: match![0] });
      at += match![0].length;
    }
  }
  return segments;
}

/** What an index stores, beside paths, of a label that a change took away or gave another value. No path reads like it. */
export function formerLabelTerm(label: string): string {
  return `metadata.labels="${label}"`;
}

/** What an index stores of a changed path: itself, its ancestors, and the forms with every list item as `[*]`. */
export function fieldTerms(path: string): string[] {
  const terms = new Set<string>();
  let plain = '';
  let starred = '';
  for (const segment of parseFieldPath(path)) {
    plain = appendSegment(plain, segment);
    starred = 'key' in segment ? appendSegment(starred, segment) : `${starred}[*]`;
    terms.add(plain);
    terms.add(starred);
  }
  return [...terms];
}
