import { CommandLine } from './command-line.js';
import type { KeyedDigest } from './keyed-digest.js';
import { NAME } from './names.js';
import { hideString } from './redact-string.js';
import type { RedactionRules } from './rules.js';
import { scanText } from './scan.js';

/**
 * Redacts a request URI: query parameters of a sensitive name, and what is secret inside other values, with the
 * repeated `command` of exec read as one command line. What is not secret keeps its spelling.
 */
export function redactRequestURI(uri: string, rules: RedactionRules, digest: KeyedDigest): string {
  const mark = uri.indexOf('?');
  if (mark < 0) return redactEncoded(uri, rules, digest);
  const path = uri.slice(0, mark);
  const query = uri.slice(mark + 1);
  const redactedPath = redactEncoded(path, rules, digest);
  if (redactedPath === path && rules.harmlessQueries.has(query)) return uri;
  let command: CommandLine | undefined;
  let changed = redactedPath !== path;
  const parameters = query.split('&').map((parameter) => {
    const equals = parameter.indexOf('=');
    const name = decodeForm(equals < 0 ? parameter : parameter.slice(0, equals));
    const redactedName = scanText(name, rules, digest);
    if (redactedName !== name) {
      // No parameter's name: the equals sign is part of something else.
      changed = true;
      return encodeForm(scanText(decodeForm(parameter), rules, digest, true));
    }
    if (equals < 0) return parameter;
    const encoded = parameter.slice(equals + 1);
    const value = decodeForm(encoded);
    let redacted: string | undefined;
    if (name === 'command') {
      command ??= new CommandLine(rules.names, digest);
      redacted = command.next(value);
    } else if ((rules.names.meaning(name) & NAME.sensitive) !== 0) {
      redacted = hideString(value, digest);
    }
    redacted ??= scanText(value, rules, digest, name === 'command' && value.startsWith('-'));
    if (redacted === value) return parameter;
    changed = true;
    return `${parameter.slice(0, equals)}=${encodeForm(redacted)}`;
  });
  if (changed) return `${redactedPath}?${parameters.join('&')}`;
  rules.harmlessQueries.add(query);
  return uri;
}

/** A path may carry anything to a proxied service, or to the apiserver by a user's mistake. */
function redactEncoded(path: string, rules: RedactionRules, digest: KeyedDigest): string {
  if (path.length < 20) return path;
  const decoded = path.includes('%') ? decodeForm(path) : path;
  const redacted = scanText(decoded, rules, digest);
  return redacted === decoded ? path : redacted.split('/').map(encodeForm).join('/');
}

function decodeForm(text: string): string {
  if (!text.includes('%') && !text.includes('+')) return text;
  const spaced = text.replaceAll('+', ' ');
  try {
    return decodeURIComponent(spaced);
  } catch {
    // Not UTF-8, or a stray percent sign: what is ASCII is still read.
    return spaced.replaceAll(/%([0-7][0-9a-f])/gi, (_, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    );
  }
}

/** Percent-encodes, but leaves a digest readable. */
function encodeForm(text: string): string {
  return encodeURIComponent(text.toWellFormed())
    .replaceAll('%5B', '[')
    .replaceAll('%5D', ']')
    .replaceAll('%3A', ':');
}
