import { redactAssignments } from './assignments.js';
import { redactCommandText, SHORT_OPTION_HINT } from './command-line.js';
import { redactSecretManifests } from './embedded-manifest.js';
import type { KeyedDigest } from './keyed-digest.js';
import type { RedactionRules } from './rules.js';
import {
  redactDsnPasswords,
  redactEncodedPrivateKeys,
  redactHttpCredentials,
  redactJwts,
  redactPrivateKeys,
  redactShapes,
  redactUrlPasswords,
} from './text-secrets.js';

/** Shorter strings hold no secret that could be known as one: `pw=x` is 4. */
const MIN_LENGTH = 6;

/**
 * Digests what is secret inside a text: keys and tokens by their shape, passwords in URLs, values of sensitive names.
 * `wholeItem` says that the text is one item of a command line or one query parameter: a value reaches to its end.
 */
export function scanText(
  text: string,
  rules: RedactionRules,
  digest: KeyedDigest,
  wholeItem = false,
): string {
  if (text.length < MIN_LENGTH || isPlain(text, rules) || isTimestamp(text)) return text;
  if (!wholeItem && rules.harmlessTexts.has(text)) return text;
  const out = scan(text, rules, digest, wholeItem);
  if (!wholeItem && out === text) rules.harmlessTexts.add(text);
  return out;
}

/** Nearly every string of an event goes no further than this. */
function isPlain(text: string, rules: RedactionRules): boolean {
  const punctuated =
    text.includes(':') ||
    text.includes('=') ||
    text.includes('@') ||
    text.includes(' -') ||
    text.startsWith('-') ||
    text.includes('\n') ||
    text.includes('\t');
  return !punctuated && !rules.suspicious.test(text);
}

function isTimestamp(text: string): boolean {
  // RFC 3339 in UTC, as Kubernetes writes times; they are the commonest strings that hold a colon.
  return text.length <= 30 && text.charCodeAt(10) === 84 && /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(text);
}

/** Each search stands behind a literal that must occur. */
function scan(text: string, rules: RedactionRules, digest: KeyedDigest, wholeItem: boolean): string {
  let out = text;
  if (text.includes('Secret') && JSON_SECRET.test(text)) out = cutAtBrace(out, digest);
  if (out.includes('-----BEGIN ')) out = redactPrivateKeys(out, digest);
  if (out.includes('LS0tLS1CRUdJ')) out = redactEncodedPrivateKeys(out, digest);
  if (out.includes('\n') && out.includes('Secret')) out = redactSecretManifests(out, digest);
  if (out.includes('@')) {
    if (out.includes('://')) out = redactUrlPasswords(out, digest);
    if (out.includes('(')) out = redactDsnPasswords(out, digest);
  }
  if (out.includes('=') || out.includes(':')) out = redactAssignments(out, rules.names, digest, wholeItem);
  if (out.includes(' ')) {
    if (out.includes('-') && (out.includes(' --') || out.startsWith('--') || SHORT_OPTION_HINT.test(out))) {
      out = redactCommandText(out, rules.names, digest);
    }
    out = redactHttpCredentials(out, digest);
  }
  if (out.includes('eyJ')) out = redactJwts(out, digest);
  return redactShapes(out, rules.shapes, digest);
}

const JSON_SECRET = /\\*"kind\\*"\s*:\s*\\*"Secret(?:List)?\\*"/;

/** A piece of JSON with a Secret in it that does not parse: nothing from its first brace on can be told apart. */
function cutAtBrace(text: string, digest: KeyedDigest): string {
  const brace = text.search(/[{[]/);
  const start = brace >= 0 && brace < text.search(JSON_SECRET) ? brace : 0;
  return text.slice(0, start) + digest(text.slice(start));
}
