import { createHmac, timingSafeEqual } from 'node:crypto';

/** How far a signed timestamp may be from our clock: what is older could be a recording. */
export const HOOK_WINDOW_SECONDS = 300;

/** Whether a signature is one of the secrets' over the text; each comparison takes the same time. */
function signedByOne(secrets: readonly string[], sign: (secret: string) => Buffer, given: Buffer): boolean {
  let good = false;
  for (const secret of secrets) {
    const expected = sign(secret);
    if (expected.length === given.length && timingSafeEqual(expected, given)) good = true;
  }
  return good;
}

function hmac(secret: string | Buffer, ...parts: Array<string | Uint8Array>): Buffer {
  const mac = createHmac('sha256', secret);
  for (const part of parts) mac.update(part);
  return mac.digest();
}

/** GitHub's X-Hub-Signature-256: `sha256=` and the hex HMAC-SHA256 of the body. Several secrets: one is being replaced. */
export function verifyGithubSignature(
  secrets: readonly string[],
  body: Uint8Array,
  header: string | undefined,
): boolean {
  const [, hex] = /^sha256=([0-9a-f]{64})$/i.exec(header ?? '') ?? [];
  if (hex === undefined) return false;
  return signedByOne(secrets, (secret) => hmac(secret, body), Buffer.from(hex, 'hex'));
}

/** GitLab's X-Gitlab-Token: the secret itself. Compared by digests, so that lengths don't show. */
export function verifyGitlabToken(secrets: readonly string[], header: string | undefined): boolean {
  if (header === undefined) return false;
  return signedByOne(secrets, (secret) => hmac('token', secret), hmac('token', header));
}

/**
 * Signatures of the Standard Webhooks form, which GitLab's signing tokens use: HMAC-SHA256 over `id.timestamp.body` in
 * base64; the header may hold several, `v1,` before each. A timestamp far from our clock is refused.
 */
export function verifyStandardSignature(
  secrets: readonly string[],
  headers: { id: string | undefined; timestamp: string | undefined; signature: string | undefined },
  body: Uint8Array,
  nowSeconds: number,
): boolean {
  const { id, timestamp, signature } = headers;
  if (id === undefined || signature === undefined || !isRecent(timestamp, nowSeconds)) return false;
  const sign = (secret: string) => hmac(keyOf(secret), `${id}.${timestamp}.`, body);
  return signature.split(' ').some((one) => {
    const [, text] = /^v1,(.+)$/.exec(one) ?? [];
    return text !== undefined && signedByOne(secrets, sign, Buffer.from(text, 'base64'));
  });
}

/** What `webhook-signature` has to be over a body that we send, by the Standard Webhooks form. */
export function standardSignature(secret: string, id: string, timestamp: number, body: string): string {
  return `v1,${hmac(keyOf(secret), `${id}.${timestamp}.`, body).toString('base64')}`;
}

/** A secret written `whsec_` and base64 is those bytes; another is its own text. */
function keyOf(secret: string): Buffer {
  const [, base64] = /^whsec_(.+)$/.exec(secret) ?? [];
  return base64 === undefined ? Buffer.from(secret) : Buffer.from(base64, 'base64');
}

function isRecent(timestamp: string | undefined, nowSeconds: number): boolean {
  return (
    /^\d{1,12}$/.test(timestamp ?? '') && Math.abs(nowSeconds - Number(timestamp)) <= HOOK_WINDOW_SECONDS
  );
}
