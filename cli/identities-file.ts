import { isNode, LineCounter, parseDocument } from 'yaml';
import { type IdentityEntry, validateIdentities } from '../core/identity-map/validate.js';

/** The text of a mapping of identities; every problem with its line. */
export function readIdentities(text: string): { entries: IdentityEntry[]; problems: string[] } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const wrong = document.errors.map(
    (error) => `line ${error.linePos?.[0].line ?? 1}: it is not YAML: ${error.message.split('\n')[0]}`,
  );
  if (wrong.length > 0) return { entries: [], problems: wrong };
  const { entries, problems } = validateIdentities(document.toJS() ?? {});
  return {
    entries,
    problems: problems.map(({ path, message }) => {
      const node = path.length === 0 ? document.contents : document.getIn(path, true);
      const at = isNode(node) && node.range ? `line ${lines.linePos(node.range[0]).line}: ` : '';
      return `${at}${path.length > 0 ? `${pathText(path)}: ` : ''}${message}`;
    }),
  };
}

function pathText(path: Array<string | number>): string {
  return path
    .map((part, i) => (typeof part === 'number' ? `[${part}]` : i === 0 ? part : `.${part}`))
    .join('');
}
