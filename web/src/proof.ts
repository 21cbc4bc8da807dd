import type { Proof } from './answers.ts';

/** What was checked, in the order in which it was; the first that doesn't hold ends it. */
export interface Check {
  what: string;
  holds: boolean;
  detail: string;
}

const ED25519 = 1;

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
}

function hexOf(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

function joined(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

async function sha256(...parts: Uint8Array[]): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', joined(...parts)));
}

/** The root that an inclusion proof leads to (RFC 9162, section 2.1.3.2); undefined for a proof of a wrong length. */
export async function rootOf(
  leaf: string,
  index: number,
  size: number,
  hashes: readonly string[],
): Promise<Uint8Array | undefined> {
  if (index >= size) return undefined;
  let node = index;
  let last = size - 1;
  let hash = await sha256(Uint8Array.of(0), new TextEncoder().encode(leaf));
  for (const text of hashes) {
    if (last === 0) return undefined;
    const sibling = bytesOf(text);
    if (node % 2 === 1 || node === last) {
      hash = await sha256(Uint8Array.of(1), sibling, hash);
      // At the right edge, levels where it has no sibling are passed by.
      while (node % 2 === 0 && node !== 0) {
        node /= 2;
        last = Math.floor(last / 2);
      }
    } else hash = await sha256(Uint8Array.of(1), hash, sibling);
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 ? hash : undefined;
}

/** The signature of a note (c2sp.org/signed-note) under a verifier key `name+hash+base64`: whether it holds, and of what text. */
async function checkNote(
  note: string,
  verifierKey: string,
): Promise<{ holds: boolean; text: string; detail: string }> {
  const end = note.lastIndexOf('\n\n');
  const text = note.slice(0, end + 1);
  const match = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(verifierKey.trim());
  if (!match || end < 0)
    return { holds: false, text, detail: 'a verifier key looks like NAME+1a2b3c4d+BASE64' };
  const [, name, keyHash, encoded] = match as unknown as [string, string, string, string];
  const key = bytesOf(encoded);
  const hash = hexOf((await sha256(new TextEncoder().encode(`${name}\n`), key)).subarray(0, 4));
  if (key.length !== 33 || key[0] !== ED25519 || hash !== keyHash)
    return { holds: false, text, detail: 'the key does not match its own hash' };
  for (const line of note.slice(end + 2).split('\n')) {
    const signed = /^\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})$/.exec(line);
    if (signed?.[1] !== name) continue;
    const bytes = bytesOf(signed[2]!);
    if (hexOf(bytes.subarray(0, 4)) !== keyHash) continue;
    const publicKey = await crypto.subtle.importKey('raw', key.slice(1), 'Ed25519', false, ['verify']);
    const holds = await crypto.subtle.verify(
      'Ed25519',
      publicKey,
      bytes.slice(4),
      new TextEncoder().encode(text),
    );
    return { holds, text, detail: `${name}+${keyHash}` };
  }
  return { holds: false, text, detail: `no signature by ${name}+${keyHash}` };
}

/**
 * Checks a proof in this browser: that the leaf holds the digest of an event of this change, that the hashes lead from the
 * leaf to the checkpoint's root, and that the checkpoint is signed by the key.
 */
export async function verifyProof(
  proof: Proof,
  digests: readonly string[],
  verifierKey: string,
): Promise<Check[]> {
  const checks: Check[] = [];
  const digest = /^sha256 ([0-9a-f]{64})$/m.exec(proof.leaf)?.[1] ?? '';
  checks.push({
    what: 'The leaf holds the digest of an event of this change',
    holds: digests.includes(digest),
    detail: `sha256 ${digest}`,
  });
  const { holds, text, detail } = await checkNote(proof.checkpoint, verifierKey);
  const [origin, size, root] = text.split('\n');
  const led = await rootOf(proof.leaf, proof.index, Number(size), proof.hashes);
  const expected = hexOf(bytesOf(root ?? ''));
  checks.push({
    what: `It is leaf ${proof.index} of the ${size} under the checkpoint's root`,
    holds: led !== undefined && hexOf(led) === expected,
    detail: `root ${expected}`,
  });
  checks.push({ what: `The checkpoint of ${origin} is signed by the key`, holds, detail });
  return checks;
}
