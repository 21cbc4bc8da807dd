import type { KeyedDigest } from './keyed-digest.js';
import { isDigest } from './keyed-digest.js';

const MANIFEST = /(?:^|\n)[ \t-]*["']?kind["']?:[ \t]*["']?(?:Secret|SealedSecret|ExternalSecret)\b/;
const BLOCK = /^([ \t-]*)["']?(?:data|stringData)["']?:(.*)$/;
const ENTRY = /^([ \t]*)(["']?[\w.-]+["']?:[ \t]*)(.*)$/;

/**
 * YAML text that holds a manifest of a Secret (in a ConfigMap, a Helm value, a kustomize patch): the values below its
 * data and stringData are digested, their keys stay. Works by indentation, without a YAML parser, so that text which
 * is cut or templated is covered too: what it cannot read as `key: value` it digests as a line.
 */
export function redactSecretManifests(text: string, digest: KeyedDigest): string {
  if (!MANIFEST.test(text)) return text;
  const hide = (value: string): string => (value === '' || isDigest(value) ? value : digest(value));
  // Indentation of the data block we are in, and of its entries.
  let block = -1;
  let entries = -1;
  return text
    .split('\n')
    .map((line) => {
      const depth = line.search(/[^\s-]/);
      if (depth < 0) return line;
      if (block >= 0 && depth > block) {
        if (entries < 0) entries = depth;
        const entry = depth === entries ? ENTRY.exec(line) : null;
        if (entry === null) return line.slice(0, depth) + hide(line.slice(depth));
        const value = entry[3] as string;
        return (
          entry[1] + (entry[2] as string) + (/^[|>][+-]?\d?\s*$/.test(value) ? value : hide(unquoted(value)))
        );
      }
      block = -1;
      entries = -1;
      const start = BLOCK.exec(line);
      if (start === null) return line;
      block = (start[1] as string).length;
      const flow = (start[2] as string).trim();
      return flow === '' || flow === '{}'
        ? line
        : `${line.slice(0, line.length - (start[2] as string).length)} ${hide(flow)}`;
    })
    .join('\n');
}

function unquoted(value: string): string {
  const quoted = /^(["'])(.*)\1\s*$/.exec(value);
  return quoted === null ? value : (quoted[2] as string);
}
