import { readFile } from 'node:fs/promises';
import { type AccessEvent, accessEventDigest } from '../core/access/access-event.js';
import { canonicalBody, canonicalEvent } from '../core/canonical.js';
import { decodeEvent } from '../core/decode.js';
import { isLate, type Leaf, type LeafType, parseLeaf } from '../core/log/leaf.js';
import { hashLeaf } from '../core/log/merkle.js';
import type { VerifierKey } from '../core/log/note.js';
import { parseProofFile, verifyProofFile } from '../core/log/proof-file.js';
import { ERASED_DIGESTS } from '../core/retention/erased.js';
import { type VerdictRecord, verdictRecordDigest } from '../core/verdict/verdict-record.js';

export interface ProofResult {
  ok: boolean;
  /** What was proven, or why not, for a person. */
  lines: string[];
  /** What the proof is of, where it holds. */
  leaf?: Leaf;
}

/**
 * Checks a proof file with nothing but itself and the trusted keys; with a record (the Event that `GET /v1/events/ID`
 * gives as `raw`; the `record` that proofs of verdicts and access events come with), also that the proof is of that very
 * record.
 * @throws NoteError, RangeError, DecodeError for files that are not what they should be
 */
export async function verifyProof(
  path: string,
  keys: readonly VerifierKey[],
  recordPath: string | undefined,
): Promise<ProofResult> {
  const proof = parseProofFile(await readFile(path, 'utf8'));
  if (!proof.extra) return { ok: false, lines: ['the proof file holds no leaf in its extra line'] };
  const leaf = parseLeaf(proof.extra.toString('utf8'));
  const verdict = verifyProofFile(proof, hashLeaf(proof.extra), keys);
  if (!verdict.ok) return { ok: false, lines: [verdict.reason] };
  const { checkpoint } = verdict;
  const lines = [
    `${leaf.type} ${leaf.seq} of ${leaf.cluster || 'the ledger'}, ${timeOf(leaf)}, is at place ${proof.index}`,
    `of the log ${checkpoint.origin}, signed at size ${checkpoint.size} by ${verdict.signedBy.join(', ')}`,
  ];
  if (recordPath === undefined) return { ok: true, lines, leaf };
  const digest = DIGEST_OF[leaf.type](JSON.parse(await readFile(recordPath, 'utf8')));
  if (!digest.equals(leaf.digest))
    return { ok: false, lines: [...lines, `${recordPath} is not that record: its digest is another`] };
  return { ok: true, lines: [...lines, `${recordPath} is that record`], leaf };
}

function timeOf(leaf: Leaf): string {
  const time = new Date(leaf.at / 1000).toISOString();
  return isLate(leaf) ? `as it was at ${time}, when it got this leaf (later than it was made)` : `at ${time}`;
}

/** What a leaf's digest is of, by its type. */
const DIGEST_OF: Record<LeafType, (record: unknown) => Buffer> = {
  event: digestOfEvent,
  verdict: (record) => verdictRecordDigest(record as VerdictRecord),
  access: (record) => accessEventDigest(record as AccessEvent),
};

/** The digest of an Event as the API gives it: redacted, with its bodies or the digests of those that were erased. */
function digestOfEvent(value: unknown): Buffer {
  const event = decodeEvent(value);
  const erased = (value as { [ERASED_DIGESTS]?: Record<string, string> })[ERASED_DIGESTS] ?? {};
  const digestOf = (part: 'requestObject' | 'responseObject') => {
    const body = event[part];
    if (body !== undefined) return canonicalBody(body).digest;
    return erased[part] === undefined ? undefined : Buffer.from(erased[part], 'hex');
  };
  return canonicalEvent(event, digestOf('requestObject'), digestOf('responseObject')).digest;
}
