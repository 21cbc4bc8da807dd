import { type Checkpoint, parseCheckpoint } from './checkpoint.js';
import { verifyInclusion } from './merkle.js';
import { NoteError, type VerifierKey, verifiedBy } from './note.js';

const HEAD = 'c2sp.org/tlog-proof@v1';

/** An offline proof that a record is in the log (c2sp.org/tlog-proof). */
export interface ProofFile {
  /** Opaque to the format; ours holds the leaf itself, so that the file proves by itself. */
  extra: Buffer | undefined;
  index: number;
  hashes: Buffer[];
  /** The signed checkpoint, as a note. */
  checkpoint: string;
}

export function formatProofFile({ extra, index, hashes, checkpoint }: ProofFile): string {
  const lines = [
    HEAD,
    ...(extra ? [`extra ${extra.toString('base64')}`] : []),
    `index ${index}`,
    ...hashes.map((hash) => hash.toString('base64')),
  ];
  return `${lines.join('\n')}\n\n${checkpoint}`;
}

/** @throws NoteError saying what is wrong and in which line */
export function parseProofFile(text: string): ProofFile {
  const end = text.indexOf('\n\n');
  if (end < 0) throw new NoteError('no blank line between proof and checkpoint');
  const lines = text.slice(0, end).split('\n');
  if (lines.shift() !== HEAD) throw new NoteError(`line 1: expected ${HEAD}`);
  let extra: Buffer | undefined;
  if (lines[0]?.startsWith('extra ')) {
    const base64 = lines.shift()!.slice('extra '.length);
    extra = Buffer.from(base64, 'base64');
    // Node reads over what is no base64: the same bytes must have one text only.
    if (extra.toString('base64') !== base64) throw new NoteError('line 2: expected "extra BASE64"');
  }
  const index = /^index (0|[1-9]\d{0,15})$/.exec(lines.shift() ?? '')?.[1];
  if (index === undefined) throw new NoteError(`line ${extra ? 3 : 2}: expected "index N"`);
  const hashes = lines.map((line, i) => {
    if (!/^[A-Za-z0-9+/]{43}=$/.test(line)) throw new NoteError(`hash ${i + 1}: expected 32 bytes in base64`);
    return Buffer.from(line, 'base64');
  });
  return { extra, index: Number(index), hashes, checkpoint: text.slice(end + 2) };
}

export type ProofVerdict =
  | { ok: true; checkpoint: Checkpoint; signedBy: string[] }
  | { ok: false; reason: string };

/** Checks a proof by itself: the checkpoint's signature by one of the trusted keys, then the way from leaf to root. */
export function verifyProofFile(
  proof: ProofFile,
  leafHash: Uint8Array,
  keys: readonly VerifierKey[],
): ProofVerdict {
  try {
    const { checkpoint, note } = parseCheckpoint(proof.checkpoint);
    const signers = verifiedBy(note, keys);
    if (signers.length === 0) return { ok: false, reason: 'no trusted key has signed the checkpoint' };
    if (!signers.some((signer) => signer.name === checkpoint.origin))
      return { ok: false, reason: `no key of the log ${checkpoint.origin} has signed its checkpoint` };
    if (!verifyInclusion(leafHash, proof.index, checkpoint.size, proof.hashes, checkpoint.root))
      return { ok: false, reason: 'the record is not the one at this place of the log' };
    return { ok: true, checkpoint, signedBy: signers.map((signer) => signer.name) };
  } catch (error) {
    if (error instanceof NoteError) return { ok: false, reason: error.message };
    throw error;
  }
}
