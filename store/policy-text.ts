import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { WhochangedError } from '../core/errors.js';
import { versionOfPolicy } from '../core/verdict/policy.js';
import { formatPolicyPath, type PolicyProblem } from '../core/verdict/policy-shape.js';
import { readPolicy } from '../core/verdict/read-policy.js';
import type { LoadedPolicy } from './policies.js';

const MAX_BYTES = 1024 * 1024;
const MAX_PROBLEMS = 20;

/**
 * Reads a policy file.
 * @param origin how the file is called in messages
 * @throws WhochangedError `invalid_request` with every problem: line, path, what is wrong, what was expected, an example
 */
export function readPolicyText(text: string, origin: string): LoadedPolicy {
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
  const read = readPolicy(value);
  if ('policy' in read) return { ...versionOfPolicy(read.policy), text };
  const lineAt = (path: PolicyProblem['path']) => lineOf(document.contents, path, lines);
  throw invalid(
    origin,
    read.problems.map((problem) => {
      const path = formatPolicyPath(problem.path) || 'the document';
      return `line ${lineAt(problem.path)}: ${path} ${problem.problem}; expected ${problem.expected}, such as ${problem.example.replaceAll('\n', ' ')}`;
    }),
  );
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

function invalid(origin: string, problems: string[]): WhochangedError {
  const shown = problems.slice(0, MAX_PROBLEMS);
  if (problems.length > shown.length) shown.push(`and ${problems.length - shown.length} more`);
  return new WhochangedError(
    'invalid_request',
    `${origin} has ${problems.length === 1 ? 'a problem' : `${problems.length} problems`}:\n  ${shown.join('\n  ')}`,
    { hint: 'docs/policy.md tells of every setting; deploy/policy.example.yaml is a whole policy' },
  );
}
