import type { Json } from '../audit-event.js';

/**
 * The text of core/canonical.ts without recursion: what is digested here may be nested deeper than the stack allows,
 * because it is the depth that made it be digested.
 */
export function canonicalText(value: Json): string {
  let text = '';
  // Either JSON text to write as it is, or a value still to be written.
  const pending: ({ text: string } | { value: Json })[] = [{ value }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if ('text' in next) {
      text += next.text;
    } else if (next.value === null || typeof next.value !== 'object') {
      text += JSON.stringify(next.value);
    } else if (Array.isArray(next.value)) {
      text += '[';
      pending.push({ text: ']' });
      for (let i = next.value.length - 1; i >= 0; i--) {
        pending.push({ value: next.value[i] as Json });
        if (i > 0) pending.push({ text: ',' });
      }
    } else {
      text += '{';
      pending.push({ text: '}' });
      const keys = Object.keys(next.value).sort();
      for (let i = keys.length - 1; i >= 0; i--) {
        const key = keys[i] as string;
        pending.push({ value: next.value[key] as Json });
        pending.push({ text: `${i > 0 ? ',' : ''}${JSON.stringify(key)}:` });
      }
    }
  }
  return text;
}
