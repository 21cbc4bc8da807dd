import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { WhochangedError } from '../core/errors.js';
import { formatPolicyPath, type PolicyProblem } from '../core/verdict/policy-shape.js';

const MAX_BYTES = 1024 * 1024;
const MAX_PROBLEMS = 20;

/** How a file is called in messages, and where it is described. */
export interface YamlOrigin {
  name: string;
  hint: string;
}

/** A parsed document, and the error that names what is wrong in it by line. */
export interface CheckedYaml {
  value: unknown;
  invalid(problems: readonly PolicyProblem[]): WhochangedError;
}

/**
 * Parses a file that an operator wrote.
 * @throws WhochangedError `invalid_request` with the lines that are no YAML; nothing of the text is repeated
 */
export function parseCheckedYaml(text: string, origin: YamlOrigin): CheckedYaml {
  if (Buffer.byteLength(text) > MAX_BYTES)
    throw invalid(origin, [`it is larger than ${MAX_BYTES / 1024} KiB`]);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  if (document.errors.length > 0)
    throw invalid(
      origin,
      document.errors.map(
        (error) =>
          `line ${error.linePos?.[0].line ?? 1}: it is not YAML: ${error.code.toLowerCase().replaceAll('_', ' ')}`,
      ),
    );
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    throw invalid(origin, [`it can't be read: ${(error as Error).message}`]);
  }
  return {
    value,
    invalid: (problems) =>
      invalid(
        origin,
        problems.map((problem) => {
          const path = formatPolicyPath(problem.path) || 'the document';
          return `line ${lineOf(document.contents, problem.path, lines)}: ${path} ${problem.problem}; expected ${problem.expected}, such as ${problem.example.replaceAll('\n', ' ')}`;
        }),
      ),
  };
}

/** The line of a value, or of what it is missing from. */
function lineOf(contents: unknown, path: ReadonlyArray<string | number>, lines: LineCounter): number {
  let node = contents;
  let offset = (contents as Node | null)?.range?.[0] ?? 0;
  for (const step of path) {
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && key.value === step);
      if (!pair) break;
      offset = (pair.key as Node).range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node) && typeof step === 'number') {
      node = node.items[step];
      offset = (node as Node | undefined)?.range?.[0] ?? offset;
    } else break;
  }
  return lines.linePos(offset).line;
}

function invalid({ name, hint }: YamlOrigin, problems: string[]): WhochangedError {
  const shown = problems.slice(0, MAX_PROBLEMS);
  if (problems.length > shown.length) shown.push(`and ${problems.length - shown.length} more`);
  return new WhochangedError(
    'invalid_request',
    `${name} has ${problems.length === 1 ? 'a problem' : `${problems.length} problems`}:\n  ${shown.join('\n  ')}`,
    { hint },
  );
}
