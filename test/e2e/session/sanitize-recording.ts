/**
 * Makes an audit log fit for committing: every token that the recording apiserver signed is replaced by one of the
 * same shape and length that nobody signed, the same one everywhere, in plain and in base64.
 *
 *   node --import tsx test/e2e/session/sanitize-recording.ts AUDIT.log RECORDING.ndjson.gz
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const TOKEN = /eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}/g;
/** Base64 of text that begins with `eyJ`. */
const ENCODED_TOKEN = /ZXlK[A-Za-z0-9+/]{40,}={0,2}/g;
const PRIVATE_KEY = /-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----(?!\\+nsynthetic)/;

const standIns = new Map<string, string>();

function standInFor(token: string): string {
  const known = standIns.get(token);
  if (known) return known;
  const [, payload = ''] = token.split('.');
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { sub?: string };
  const head = [
    { alg: 'RS256', kid: 'synthetic' },
    { iss: 'synthetic', sub: claims.sub ?? '', n: standIns.size },
  ].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'));
  const text = `${head.join('.')}.`;
  const standIn =
    text + 'synthetic-token-signature-'.repeat(60).slice(0, Math.max(20, token.length - text.length));
  standIns.set(token, standIn);
  return standIn;
}

/** @throws Error when something that looks like a real key or token is still there */
function sanitize(log: string): string {
  const clean = log.replace(TOKEN, standInFor).replace(ENCODED_TOKEN, (encoded) => {
    const text = Buffer.from(encoded, 'base64').toString('latin1');
    return Buffer.from(text.replace(TOKEN, standInFor), 'latin1').toString('base64');
  });
  if (PRIVATE_KEY.test(clean)) throw new Error('the log holds a private key');
  for (const [token] of standIns) {
    const signature = token.slice(token.lastIndexOf('.') + 1);
    if (clean.includes(signature)) throw new Error('a signed token survived');
  }
  return clean;
}

const [logPath, recordingPath] = process.argv.slice(2);
if (!logPath || !recordingPath) {
  process.stderr.write(
    'usage: node --import tsx test/e2e/session/sanitize-recording.ts AUDIT.log RECORDING.ndjson.gz\n',
  );
  process.exit(2);
}
const packed = gzipSync(sanitize(readFileSync(logPath, 'utf8')), { level: 9 });
writeFileSync(recordingPath, packed);
process.stderr.write(`${recordingPath}: ${packed.length} bytes, ${standIns.size} tokens replaced\n`);
