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
 *
 * Nearly every string of an event is harmless, so each search stands behind a literal that must occur.
 */
export function scanText(
  text: string,
  rules: RedactionRules,
  digest: KeyedDigest,
  wholeItem = false,
): string {
  if (text.length < MIN_LENGTH) return text;
  let out = text;
  if (text.length >= 20) {
    if (text.includes('-----BEGIN ')) out = redactPrivateKeys(out, digest);
    if (text.includes('LS0tLS1CRUdJ')) out = redactEncodedPrivateKeys(out, digest);
    if (text.includes('\n') && text.includes('Secret')) out = redactSecretManifests(out, digest);
  }
  if (text.includes('@')) {
    if (text.includes('://')) out = redactUrlPasswords(out, digest);
    if (text.includes('(')) out = redactDsnPasswords(out, digest);
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
