import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';

/** Signature type of Ed25519 in signed notes (c2sp.org/signed-note). */
const ED25519 = 0x01;
/** The DER head of an Ed25519 public key (RFC 8410): SubjectPublicKeyInfo without its 32 bytes. */
const SPKI_HEAD = Buffer.from('302a300506032b6570032100', 'hex');
const SIGNATURE_BYTES = 64;

/** A key that a note's signature can be checked with. */
export interface VerifierKey {
  name: string;
  /** The first four bytes of SHA-256 of name, newline, type and key. */
  hash: Buffer;
  publicKey: KeyObject;
}

export interface NoteSignature {
  name: string;
  hash: Buffer;
  signature: Buffer;
}

/** A parsed signed note: the text with its last newline, and its signatures, unverified. */
export interface Note {
  text: string;
  signatures: NoteSignature[];
}

export class NoteError extends Error {
  constructor(detail: string) {
    super(detail);
    this.name = 'NoteError';
  }
}

/** A verifier's key from an Ed25519 public key. @throws NoteError when the name holds white space or a plus */
export function verifierOf(name: string, publicKey: KeyObject): VerifierKey {
  if (name === '' || /[\s+]/.test(name))
    throw new NoteError(`key name ${JSON.stringify(name)}: no white space, no plus`);
  const raw = rawKey(publicKey);
  return { name, hash: keyHash(name, raw), publicKey };
}

function rawKey(publicKey: KeyObject): Buffer {
  if (publicKey.asymmetricKeyType !== 'ed25519') throw new NoteError('expected an Ed25519 key');
  return publicKey.export({ type: 'spki', format: 'der' }).subarray(SPKI_HEAD.length);
}

function keyHash(name: string, raw: Uint8Array): Buffer {
  return createHash('sha256')
    .update(`${name}\n`)
    .update(Buffer.from([ED25519]))
    .update(raw)
    .digest()
    .subarray(0, 4);
}

/** The key as text that other tools of the kind read: `name+hash+base64` (golang.org/x/mod/sumdb/note). */
export function formatVerifierKey({ name, hash, publicKey }: VerifierKey): string {
  const key = Buffer.concat([Buffer.from([ED25519]), rawKey(publicKey)]);
  return `${name}+${hash.toString('hex')}+${key.toString('base64')}`;
}

/** @throws NoteError saying what is wrong with the text */
export function parseVerifierKey(text: string): VerifierKey {
  const match = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text.trim());
  if (!match) throw new NoteError('a verifier key looks like NAME+1a2b3c4d+BASE64');
  const key = Buffer.from(match[3]!, 'base64');
  if (key.length !== 33 || key[0] !== ED25519) throw new NoteError('only Ed25519 keys are supported');
  const publicKey = createPublicKey({
    key: Buffer.concat([SPKI_HEAD, key.subarray(1)]),
    format: 'der',
    type: 'spki',
  });
  const verifier = verifierOf(match[1]!, publicKey);
  if (verifier.hash.toString('hex') !== match[2]) throw new NoteError('the key does not match its own hash');
  return verifier;
}

/** One signature line over a text. `text` ends with a newline. */
export function signNote(text: string, name: string, privateKey: KeyObject): string {
  const { hash } = verifierOf(name, createPublicKey(privateKey));
  const signature = Buffer.concat([hash, sign(null, Buffer.from(text), privateKey)]);
  return `\u2014 ${name} ${signature.toString('base64')}\n`;
}

/** @throws NoteError when it is no signed note (c2sp.org/signed-note) */
export function parseNote(note: string): Note {
  const at = note.lastIndexOf('\n\n');
  if (at < 0 || !note.endsWith('\n'))
    throw new NoteError('a signed note has a blank line between text and signatures');
  const lines = note.slice(at + 2, -1).split('\n');
  const signatures = lines.map((line): NoteSignature => {
    const match = /^\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})$/.exec(line);
    const bytes = Buffer.from(match?.[2] ?? '', 'base64');
    if (!match || bytes.length < 5) throw new NoteError('a signature line looks like "\u2014 NAME BASE64"');
    return { name: match[1]!, hash: bytes.subarray(0, 4), signature: bytes.subarray(4) };
  });
  return { text: note.slice(0, at + 1), signatures };
}

/** The keys whose signatures on the note hold. A signature by another key says nothing; a wrong one by a known key is an error. */
export function verifiedBy(note: Note, keys: readonly VerifierKey[]): VerifierKey[] {
  const verified: VerifierKey[] = [];
  for (const { name, hash, signature } of note.signatures) {
    const key = keys.find((known) => known.name === name && known.hash.equals(hash));
    if (!key) continue;
    if (
      signature.length !== SIGNATURE_BYTES ||
      !verify(null, Buffer.from(note.text), key.publicKey, signature)
    )
      throw new NoteError(`the signature of ${name} does not fit the note`);
    verified.push(key);
  }
  return verified;
}
