import { createPublicKey, type KeyObject } from 'node:crypto';
import { formatCheckpoint } from '../core/log/checkpoint.js';
import { formatVerifierKey, signNote, verifierOf } from '../core/log/note.js';
import { appendCheckpoint, findLatestCheckpoint, readTreeHead, recordKey } from '../store/log/checkpoints.js';
import { appendLateLeaves } from '../store/log/late-leaves.js';
import { sequencePending } from '../store/log/sequence.js';
import type { Job } from './job.js';

/** Batches of records sequenced in one transaction. */
const MAX_BATCHES = 64;

/** Who signs checkpoints: the log's name and its private key, Ed25519, which the database never sees. */
export interface LogSigner {
  origin: string;
  privateKey: KeyObject;
}

/** Gives what was committed its place in the proof log. */
export function sequenceLogJob(): Job {
  return {
    name: 'sequence-log',
    schedule: '*/2 * * * * *',
    async runOnce({ client, signal }) {
      let rows = 0;
      while (!signal.aborted) {
        const sequenced = await sequencePending(client, MAX_BATCHES);
        if (sequenced === 0) break;
        rows += sequenced;
      }
      return { rows };
    },
  };
}

/** Gives leaves to what was stored before its kind had them, once; from then on it finds nothing to do. */
export function lateLeavesJob(): Job {
  return {
    name: 'late-leaves',
    schedule: '50 * * * * *',
    async runOnce({ client, now, signal }) {
      let rows = 0;
      while (!signal.aborted) {
        const looked = await appendLateLeaves(client, now());
        if (looked === 0) break;
        rows += looked;
      }
      return { rows };
    },
  };
}

/** Signs the tree as it is, once a minute where it has grown; after a change of keys, with the new key at once. */
export function checkpointJob(signer: LogSigner): Job {
  const verifier = verifierOf(signer.origin, createPublicKey(signer.privateKey));
  const verifierKey = formatVerifierKey(verifier);
  const mark = `\u2014 ${signer.origin} `;
  return {
    name: 'checkpoint',
    schedule: '0 * * * * *',
    async runOnce({ client, now }) {
      await sequencePending(client, MAX_BATCHES);
      const latest = await findLatestCheckpoint(client);
      const { size, root } = await readTreeHead(client);
      const signedByThisKey = latest?.note
        .split('\n')
        .some(
          (line) =>
            line.startsWith(mark) &&
            Buffer.from(line.slice(mark.length), 'base64').subarray(0, 4).equals(verifier.hash),
        );
      if (latest?.size === size && signedByThisKey) return { rows: 0 };
      const signedAt = now();
      const time = `time ${signedAt.toISOString()}`;
      const text = formatCheckpoint({ origin: signer.origin, size, root, extensions: [time] });
      const note = `${text}\n${signNote(text, signer.origin, signer.privateKey)}`;
      await recordKey(client, signer.origin, verifierKey);
      await appendCheckpoint(client, { size, root, note, signedAt });
      return { rows: 1 };
    },
  };
}
