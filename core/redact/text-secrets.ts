import { isDigest, type KeyedDigest } from './keyed-digest.js';

/*
 * Secrets that are known by their own shape, wherever in a text they stand. Every function here takes time linear in
 * the text (searches for a literal, then looks around it within a bound) and returns the same string when it has
 * nothing to hide.
 */

const DIGESTS = /(\[redacted:[0-9a-f]{16}\])/;

/** Applies a replacement to what stands between digests, so that redacting twice changes nothing more. */
function outsideDigests(text: string, replace: (part: string) => string): string {
  if (!text.includes('[redacted:')) return replace(text);
  return text
    .split(DIGESTS)
    .map((part) => (isDigest(part) ? part : replace(part)))
    .join('');
}

/** The value patterns of the rules. */
export function redactShapes(text: string, shapes: RegExp, digest: KeyedDigest): string {
  return outsideDigests(text, (part) => {
    let hasAwsKeyId = false;
    const replaced = part.replace(shapes, (match) => {
      hasAwsKeyId ||= match.startsWith('AKIA') || match.startsWith('ASIA');
      return digest(match);
    });
    // An AWS secret key has no shape of its own, but beside a key id 40 characters of base64 are one.
    if (!hasAwsKeyId) return replaced;
    return replaced.replace(/(?<![A-Za-z0-9/+])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])/g, (match) =>
      digest(match),
    );
  });
}

const PEM_END = /-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----/g;

/** PEM private keys (RFC 7468, OpenSSH, PGP), also when their end is cut off. Certificates and public keys stay. */
export function redactPrivateKeys(text: string, digest: KeyedDigest): string {
  let out = '';
  let done = 0;
  let start = text.indexOf('-----BEGIN ');
  while (start >= 0) {
    const label = text.slice(start + 11, start + 71);
    if (/^[A-Z0-9 ]{0,40}PRIVATE KEY/.test(label)) {
      PEM_END.lastIndex = start;
      const end = PEM_END.exec(text);
      const stop = end === null ? text.length : end.index + end[0].length;
      out += text.slice(done, start) + digest(text.slice(start, stop));
      done = stop;
    }
    start = text.indexOf('-----BEGIN ', Math.max(done, start + 11));
  }
  return done === 0 ? text : out + text.slice(done);
}

const BASE64_RUN = /[A-Za-z0-9+/_-]+={0,2}/y;

/** Base64 of a PEM private key inside a longer text, such as a kubeconfig. */
export function redactEncodedPrivateKeys(text: string, digest: KeyedDigest): string {
  // "-----BEGI" is nine bytes, so twelve characters at the beginning of the encoded text.
  const marker = 'LS0tLS1CRUdJ';
  let out = '';
  let done = 0;
  let seen = 0;
  for (let start = text.indexOf(marker); start >= 0; start = text.indexOf(marker, seen)) {
    BASE64_RUN.lastIndex = start;
    const run = BASE64_RUN.exec(text)?.[0] ?? marker;
    seen = start + run.length;
    const decoded = Buffer.from(run, 'base64').toString('latin1');
    if (!decoded.includes('PRIVATE KEY')) continue;
    out += text.slice(done, start) + digest(decoded);
    done = seen;
  }
  return done === 0 ? text : out + text.slice(done);
}

const URL_STOP = /[\s"'`<>\\]|:\/\/|$/g;

/**
 * The password in `scheme://user:password@host` (RFC 3986, 3.2.1); user and host stay. Tolerates what the RFC does
 * not, an unencoded slash or at-sign in the password. A lone user of 20 or more characters is taken for a token.
 */
export function redactUrlPasswords(text: string, digest: KeyedDigest): string {
  if (!text.includes('@')) return text;
  let out = '';
  let done = 0;
  for (let mark = text.indexOf('://'); mark >= 0; mark = text.indexOf('://', mark + 3)) {
    const start = mark + 3;
    if (start < done || text.startsWith('[', start)) continue;
    URL_STOP.lastIndex = start;
    const stop = URL_STOP.exec(text)?.index ?? text.length;
    const length = text.slice(start, stop).lastIndexOf('@');
    if (length < 0) continue;
    const at = start + length;
    // docker-pullable://image@sha256:... is an image's digest.
    if (text.startsWith('sha256:', at + 1)) continue;
    const userinfo = text.slice(start, at);
    const colon = userinfo.indexOf(':');
    const slash = userinfo.search(/[/?#]/);
    // https://host/@scope and https://host:8443/a@b have an at-sign in the path.
    if (slash >= 0 && (colon < 0 || slash < colon || /^\d{0,5}[/?#]/.test(userinfo.slice(colon + 1))))
      continue;
    const secret = colon < 0 ? userinfo : userinfo.slice(colon + 1);
    if (secret === '' || isDigest(secret) || (colon < 0 && secret.length < 20)) continue;
    out += text.slice(done, at - secret.length) + digest(percentDecoded(secret));
    done = at;
  }
  return done === 0 ? text : out + text.slice(done);
}

export function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** `user:password@tcp(host)`: the Go MySQL driver's DSN, which has no scheme. */
export function redactDsnPasswords(text: string, digest: KeyedDigest): string {
  let out = '';
  let done = 0;
  for (const mark of text.matchAll(/@(?:tcp|tcp4|tcp6|udp|unix)\(/g)) {
    const limit = Math.max(done, mark.index - 512);
    let start = mark.index;
    while (start > limit && !/[\s"']/.test(text.charAt(start - 1))) start--;
    const colon = text.indexOf(':', start);
    if (colon < 0 || colon >= mark.index) continue;
    const password = text.slice(colon + 1, mark.index);
    if (password === '' || isDigest(password)) continue;
    out += text.slice(done, colon + 1) + digest(password);
    done = mark.index;
  }
  return done === 0 ? text : out + text.slice(done);
}

const JWT_HEADER = /[A-Za-z0-9_=-]+/y;
const JWT_RUN = /[A-Za-z0-9_=.-]+/y;

/** JSON Web Tokens (RFC 7519) and JWEs; also one cut after its payload has begun. */
export function redactJwts(text: string, digest: KeyedDigest): string {
  let out = '';
  let done = 0;
  let seen = 0;
  for (let start = text.indexOf('eyJ'); start >= 0; start = text.indexOf('eyJ', seen)) {
    JWT_HEADER.lastIndex = start;
    seen = start + (JWT_HEADER.exec(text)?.[0].length ?? 3);
    // {"alg":"x"} is the shortest header.
    if (seen - start < 12 || text[seen] !== '.') continue;
    JWT_RUN.lastIndex = start;
    const run = JWT_RUN.exec(text)?.[0] ?? '';
    if (run.length < 24) continue;
    out += text.slice(done, start) + digest(run);
    done = start + run.length;
    seen = done;
  }
  return done === 0 ? text : out + text.slice(done);
}

const SCHEME = /\b(?:bearer|basic)(?:\s|%20|\+)+["']?([A-Za-z0-9._~+/-]{8,}={0,2})/gi;

/** HTTP credentials (RFC 6750, RFC 7617) outside a header that names them. */
export function redactHttpCredentials(text: string, digest: KeyedDigest): string {
  return outsideDigests(text, (part) =>
    part.replace(SCHEME, (match, credential: string) => {
      // "Bearer authentication" is prose; base64 of user:password is not, even if it has letters only.
      const prose =
        /^[A-Z]?[a-z.-]{1,23}$/.test(credential) && !Buffer.from(credential, 'base64').includes(':');
      return prose ? match : match.replace(credential, () => digest(credential));
    }),
  );
}
