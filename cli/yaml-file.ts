import { yaml } from './on-demand.js';

/** What is wrong, and where: a path of keys and places in lists. */
export interface YamlProblem {
  path: Array<string | number>;
  message: string;
}

/** Reads YAML and has it validated; every problem with its line. */
export function readYaml<T>(
  text: string,
  validate: (value: unknown) => { result: T; problems: YamlProblem[] },
): { result: T | undefined; problems: string[] } {
  const { isNode, LineCounter, parseDocument } = yaml();
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const wrong = document.errors.map(
    (error) => `line ${error.linePos?.[0].line ?? 1}: it is not YAML: ${error.message.split('\n')[0]}`,
  );
  if (wrong.length > 0) return { result: undefined, problems: wrong };
  const { result, problems } = validate(document.toJS({ maxAliasCount: 100 }) ?? {});
  return {
    result,
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
