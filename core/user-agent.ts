import { RecentMap } from './recent.js';

/** What a client says it is. The value is the client's own word: evidence for a reader, never for a verdict. */
export interface Tool {
  tool: string;
  version?: string;
}

/** Products whose first token hides the tool that a person knows. */
const DISGUISED: ReadonlyArray<readonly [pattern: RegExp, tool: string]> = [
  [/\bTerraform\/(\S+)/, 'terraform'],
  [/\bPulumi\/?(\S*)/i, 'pulumi'],
  [/\bOpenLens\/(\S+)|\bLens\/(\S+)/, 'lens'],
  [/^OpenAPI-Generator\/(\S+?)\/python/, 'kubernetes-python'],
  [/^kubernetes-client\/(\S+)|^@kubernetes\/client-node\/?(\S*)/, 'kubernetes-node'],
  [/^Mozilla\/\S+/, 'browser'],
];

const cache = new RecentMap<string, Tool>(1000);

/**
 * The tool and version in a User-Agent. client-go's default form is `<binary>/<version> (<os>/<arch>) kubernetes/<commit>`
 * (client-go rest/config.go, adjustCommand and buildUserAgent); controllers append `/<service account>`.
 */
export function parseUserAgent(userAgent: string): Tool {
  const known = cache.get(userAgent);
  if (known) return known;
  const tool = parse(userAgent);
  cache.set(userAgent, tool);
  return tool;
}

function parse(userAgent: string): Tool {
  for (const [pattern, tool] of DISGUISED) {
    const match = pattern.exec(userAgent);
    if (match) return withVersion(tool, match[1] ?? match[2]);
  }
  const match = /^([^\s/()]+)(?:\/([^\s/()]+))?/.exec(userAgent);
  if (!match?.[1]) return { tool: 'unknown' };
  return withVersion(match[1].toLowerCase(), match[2]);
}

function withVersion(tool: string, version: string | undefined): Tool {
  // Binaries built without version stamps all say v0.0.0.
  return version && version !== 'v0.0.0' && version !== '$Format' ? { tool, version } : { tool };
}
