import type { Colors } from './colors.js';
import { safe } from './text.js';

export interface FieldChange {
  path: string;
  op: string;
  before?: unknown;
  after?: unknown;
  certainty: string;
}

/** Field changes as a unified diff would show them; what is not certain says so. */
export function renderDiff(diff: FieldChange[], colors: Colors): string {
  const lines: string[] = [];
  for (const change of diff) {
    const doubt = change.certainty === 'exact' ? '' : colors.dim(`  # ${change.certainty}`);
    lines.push(colors.bold(safe(change.path)) + doubt);
    if (change.op === 'reorder') {
      lines.push(`  order: ${safe(valueText(change.before))}`, `     now: ${safe(valueText(change.after))}`);
      continue;
    }
    if ('before' in change) for (const line of linesOf(change.before)) lines.push(colors.red(`- ${line}`));
    if ('after' in change) for (const line of linesOf(change.after)) lines.push(colors.green(`+ ${line}`));
  }
  return lines.length > 0 ? `${lines.join('\n')}\n` : '';
}

function linesOf(value: unknown): string[] {
  const text = typeof value === 'string' ? value : JSON.stringify(value, null, 2);
  return text.split('\n').map(safe);
}

function valueText(value: unknown): string {
  return Array.isArray(value) ? value.join(', ') : JSON.stringify(value);
}
