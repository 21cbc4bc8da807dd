import { createHmac, createSecretKey } from 'node:crypto';
import { WhochangedError } from '../errors.js';

/**
 * Stands in for a secret value: '[redacted:' + 16 hex digits + ']'. Equal values have equal digests under one key, so
 * that "did it change, and back to the same?" can be answered without the value.
 */
export type KeyedDigest = (value: string) => string;

const MIN_KEY_BYTES = 16;
const MAX_REMEMBERED = 500;
const MAX_REMEMBERED_LENGTH = 256;
const DIGEST = /^\[redacted:[0-9a-f]{16}\]$/;
const DIGEST_LENGTH = '[redacted:0123456789abcdef]'.length;

/**
 * HMAC-SHA-256 (RFC 2104) of the value's UTF-8 text, cut to 64 bits. Without the key a digest cannot be tested against
 * guesses, so the key must be kept apart from the ledger; whoever has both can confirm a guess.
 *
 * @throws WhochangedError invalid_request when the key is shorter than 16 bytes
 */
export function createKeyedDigest(key: Uint8Array): KeyedDigest {
  if (key.byteLength < MIN_KEY_BYTES) {
    throw new WhochangedError(
      'invalid_request',
      `redaction key: expected at least ${MIN_KEY_BYTES} bytes, got ${key.byteLength}`,
      {
        hint: 'use 32 random bytes, for example from `openssl rand 32`',
      },
    );
  }
  const secret = createSecretKey(key);
  const compute: KeyedDigest = (value) =>
    `[redacted:${createHmac('sha256', secret).update(value).digest('hex').slice(0, 16)}]`;
  // A secret stands in request and response, and in every later version of its object. Few are kept, in memory only.
  const recent = new Map<string, string>();
  return (value) => {
    if (value.length > MAX_REMEMBERED_LENGTH) return compute(value);
    let digest = recent.get(value);
    if (digest === undefined) {
      digest = compute(value);
      if (recent.size >= MAX_REMEMBERED) recent.clear();
      recent.set(value, digest);
    }
    return digest;
  };
}

/** True for exactly one digest and nothing around it: such a value is redacted already. */
export function isDigest(text: string): boolean {
  return text.length === DIGEST_LENGTH && DIGEST.test(text);
}
