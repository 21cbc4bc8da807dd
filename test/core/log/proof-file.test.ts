import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatCheckpoint, parseCheckpoint } from '../../../core/log/checkpoint.js';
import { formatLeaf, type Leaf, leafHash, parseLeaf } from '../../../core/log/leaf.js';
import { hashChildren, hashLeaf } from '../../../core/log/merkle.js';
import {
  formatVerifierKey,
  NoteError,
  parseNote,
  parseVerifierKey,
  signNote,
  verifiedBy,
  verifierOf,
} from '../../../core/log/note.js';
import { formatProofFile, parseProofFile, verifyProofFile } from '../../../core/log/proof-file.js';

const ORIGIN = 'ledger.example.com/whochanged';
const keys = generateKeyPairSync('ed25519');
const others = generateKeyPairSync('ed25519');
const verifier = verifierOf(ORIGIN, keys.publicKey);

const LEAF: Leaf = {
  type: 'event',
  cluster: 'prod',
  origin: 'prod-a',
  seq: 65_537,
  at: 1_772_442_000_000_137,
  digest: Buffer.alloc(32, 7),
};

function signedCheckpoint(size: number, root: Buffer, key = keys.privateKey): string {
  const text = formatCheckpoint({ origin: ORIGIN, size, root, extensions: ['time 2026-03-02T09:00:00Z'] });
  return `${text}\n${signNote(text, ORIGIN, key)}`;
}

describe('a signed note', () => {
  it("verifies the published example of Go's note package", () => {
    // The example of golang.org/x/mod/sumdb/note: a key, a text and a signature made by another implementation.
    const key = parseVerifierKey('PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW');
    const text =
      "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const note = `${text}\n\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n`;
    expect(verifiedBy(parseNote(note), [key])).toEqual([key]);
    expect(() => verifiedBy(parseNote(note.replace('think', 'thunk')), [key])).toThrow(NoteError);
  });

  it('gives its key as text and takes it back', () => {
    const text = formatVerifierKey(verifier);
    expect(text.startsWith(`${ORIGIN}+`)).toBe(true);
    expect(parseVerifierKey(text).hash).toEqual(verifier.hash);
    expect(() => parseVerifierKey(text.replace(ORIGIN, 'another'))).toThrow('does not match its own hash');
  });

  it('says nothing by an unknown key, and fails by a known one that does not fit', () => {
    const root = hashLeaf('x');
    const strange = parseCheckpoint(signedCheckpoint(1, root, others.privateKey));
    expect(verifiedBy(strange.note, [verifier])).toEqual([]);
    const note = signedCheckpoint(1, root).replace('\n1\n', '\n2\n');
    expect(() => verifiedBy(parseCheckpoint(note).note, [verifier])).toThrow('does not fit');
  });
});

describe('a proof file', () => {
  const sibling = hashLeaf('another');
  const root = hashChildren(leafHash(LEAF), sibling);
  const file = formatProofFile({
    extra: Buffer.from(formatLeaf(LEAF)),
    index: 0,
    hashes: [sibling],
    checkpoint: signedCheckpoint(2, root),
  });

  it('proves by itself that the record is in the log', () => {
    const proof = parseProofFile(file);
    const leaf = parseLeaf(proof.extra!.toString());
    expect(leaf).toEqual(LEAF);
    expect(verifyProofFile(proof, leafHash(leaf), [verifier])).toMatchObject({
      ok: true,
      signedBy: [ORIGIN],
    });
  });

  it('fails for another record, another place, another key', () => {
    const proof = parseProofFile(file);
    expect(verifyProofFile(proof, leafHash({ ...LEAF, seq: 1 }), [verifier])).toMatchObject({ ok: false });
    expect(verifyProofFile({ ...proof, index: 1 }, leafHash(LEAF), [verifier])).toMatchObject({ ok: false });
    const other = verifierOf(ORIGIN, others.publicKey);
    expect(verifyProofFile(proof, leafHash(LEAF), [other])).toMatchObject({
      ok: false,
      reason: 'no trusted key has signed the checkpoint',
    });
  });

  it('never throws anything but its own errors, whatever a file holds, and never accepts an altered one', () => {
    fc.assert(
      fc.property(fc.nat({ max: file.length - 1 }), fc.nat({ max: 255 }), (at, byte) => {
        const bytes = Buffer.from(file);
        const before = bytes[at % bytes.length];
        bytes[at % bytes.length] = byte;
        const text = bytes.toString('utf8');
        try {
          const proof = parseProofFile(text);
          const leaf = parseLeaf(proof.extra?.toString() ?? '');
          const verdict = verifyProofFile(proof, leafHash(leaf), [verifier]);
          if (before !== byte && text !== file && verdict.ok) {
            // Base64 has spare bits: a file of other letters may mean the same bytes, and then proves the same.
            expect(leaf).toEqual(LEAF);
            expect(proof.hashes[0]!.equals(sibling)).toBe(true);
          }
        } catch (error) {
          expect(error instanceof NoteError || error instanceof RangeError).toBe(true);
        }
      }),
    );
  });
});

describe('a leaf', () => {
  it('comes back from its text', () => {
    expect(parseLeaf(formatLeaf(LEAF))).toEqual(LEAF);
    expect(() => parseLeaf(formatLeaf(LEAF).replace('seq', 'sec'))).toThrow('line 5');
    expect(() => parseLeaf(`${formatLeaf(LEAF)}more\n`)).toThrow(RangeError);
  });
});
