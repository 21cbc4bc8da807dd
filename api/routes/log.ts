import { Readable } from 'node:stream';
import type { Pool } from 'pg';
import { Type } from 'typebox';
import { WhochangedError } from '../../core/errors.js';
import { parseVerifierKey, type VerifierKey } from '../../core/log/note.js';
import { findAccessEvent } from '../../store/access-events.js';
import type { ArchiveReader } from '../../store/archive/files.js';
import { findTerminalEvent } from '../../store/log/change-event.js';
import { findCheckpoints, findKeys, findLatestCheckpoint } from '../../store/log/checkpoints.js';
import { type Inclusion, proveConsistency } from '../../store/log/proofs.js';
import { proveAccessEvent, proveEvent, proveVerdict } from '../../store/log/prove-records.js';
import { readLogSize } from '../../store/log/sequence.js';
import { findVerdictRecord } from '../../store/log/verdict-records.js';
import { verifyLedger } from '../../store/log/verify-ledger.js';
import { findEvent } from '../../store/queries/events.js';
import type { Api } from '../api.js';
import { pageSchema } from '../change-schema.js';
import { readTime } from '../times.js';

const TAGS = ['log'];
const Time = Type.Union([Type.String(), Type.Null()]);
const Checkpoint = Type.Object({
  size: Type.Integer({ description: 'leaves that it covers' }),
  signedAt: Type.String(),
  root: Type.String({ description: 'base64' }),
  note: Type.String({ description: 'as it was signed: c2sp.org/tlog-checkpoint' }),
  copiedAt: Time,
  lockedUntil: Type.Union([Type.String(), Type.Null()], {
    description:
      'until when the copy was read back as locked (Object Lock, COMPLIANCE); null: nothing is known to keep it from being deleted',
  }),
});
const Proof = Type.Object({
  index: Type.Integer(),
  leaf: Type.String({ description: 'the bytes that are hashed' }),
  hashes: Type.Array(Type.String({ description: 'base64, from leaf to root' })),
  checkpoint: Type.String(),
  file: Type.String({ description: 'the same as a file: c2sp.org/tlog-proof' }),
});
const ProofWithRecord = Type.Object({
  ...Proof.properties,
  record: Type.Unknown({ description: 'what the leaf is of: `whochanged-verify proof --record` takes it' }),
});

/** The proof log: its checkpoints and keys, and proofs that a record is in it and that it only grew. */
export function logRoutes({ server, deps, auth }: Api): void {
  const onRequest = auth.require('reader');
  server.get(
    '/v1/log/checkpoint',
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'The newest signed checkpoint, as a note',
        response: { 200: Type.String() },
      },
    },
    async (_request, reply) => {
      const latest = await findLatestCheckpoint(deps.pool);
      if (!latest)
        throw new WhochangedError('not_found', 'no checkpoint has been signed yet', { retryAfter: 60 });
      return reply.type('text/plain; charset=utf-8').send(latest.note);
    },
  );

  server.get(
    '/v1/log/checkpoints',
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'Every checkpoint, by size',
        querystring: Type.Object({
          cursor: Type.Optional(Type.String({ pattern: '^[0-9]{1,15}@[0-9TZ:.-]{20,30}$' })),
          limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
        }),
        response: { 200: pageSchema(Checkpoint) },
      },
    },
    async ({ query }) => {
      const limit = query.limit ?? 50;
      const found = await findCheckpoints(deps.pool, readCheckpointCursor(query.cursor), limit + 1);
      const last = found[limit - 1];
      return {
        items: found.slice(0, limit).map((item) => ({ ...item, root: item.root.toString('base64') })),
        next: found.length > limit ? `${last!.size}@${last!.signedAt}` : null,
      };
    },
  );

  server.get(
    '/v1/log/verify',
    {
      onRequest: auth.require('admin'),
      schema: {
        tags: TAGS,
        summary: 'Checks the whole ledger against its log, streamed as NDJSON: progress, problems, a verdict',
        description:
          'The server checks itself here, by its own list of keys. whochanged-verify checks without trusting it.',
      },
    },
    async (_request, reply) => {
      const keys = (await findKeys(deps.pool)).map((key) => parseVerifierKey(key.verifierKey));
      return reply
        .type('application/x-ndjson')
        .send(Readable.from(verdictLines(deps.pool, keys, deps.archive?.reader)));
    },
  );

  const Key = Type.Object({
    verifierKey: Type.String({ description: 'c2sp.org/signed-note' }),
    name: Type.String(),
    firstUsedAt: Type.String(),
    retiredAt: Time,
  });
  server.get(
    '/v1/log/keys',
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'The public keys that checkpoints were signed with',
        description:
          'Whoever checks a proof must have the key from elsewhere: the server that is doubted is no witness.',
        response: { 200: Type.Object({ items: Type.Array(Key) }) },
      },
    },
    async () => ({ items: await findKeys(deps.pool) }),
  );

  server.get(
    '/v1/log/consistency',
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'Proof that the log of one size is a beginning of the log of another',
        querystring: Type.Object({
          first: Type.Integer({ minimum: 0 }),
          second: Type.Integer({ minimum: 0 }),
        }),
        response: {
          200: Type.Object({
            first: Type.Integer(),
            second: Type.Integer(),
            hashes: Type.Array(Type.String({ description: 'base64' })),
          }),
        },
      },
    },
    async ({ query: { first, second } }) => {
      const size = await readLogSize(deps.pool);
      if (first > second || second > size)
        throw new WhochangedError('invalid_request', `first and second: expected first <= second <= ${size}`);
      const hashes = await proveConsistency(deps.pool, first, second);
      return { first, second, hashes: hashes.map((hash) => hash.toString('base64')) };
    },
  );

  server.get(
    '/v1/events/:eventID/proof',
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'Proof that an event is in the log, under the newest checkpoint',
        params: Type.Object({ eventID: Type.String() }),
        response: { 200: Proof },
      },
    },
    async ({ params }) => {
      const row = await findEvent(deps.db, params.eventID);
      if (!row) throw new WhochangedError('not_found', 'no event has this id');
      return proofItem(await proveEvent(deps.pool, row));
    },
  );

  server.get(
    '/v1/changes/:id/proof',
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'Proof of a change: that of the event which told of it, under the newest checkpoint',
        params: Type.Object({ id: Type.String({ format: 'uuid' }) }),
        response: { 200: Proof },
      },
    },
    async ({ params }) => {
      const eventID = await findTerminalEvent(deps.pool, params.id);
      const row = eventID === undefined ? undefined : await findEvent(deps.db, eventID);
      if (!row) throw new WhochangedError('not_found', 'no change has this id');
      return proofItem(await proveEvent(deps.pool, row));
    },
  );

  server.get(
    '/v1/changes/:id/verdict/proof',
    {
      onRequest,
      schema: {
        tags: TAGS,
        summary: 'Proof of the newest verdict of a change, under the newest checkpoint',
        params: Type.Object({ id: Type.String({ format: 'uuid' }) }),
        response: { 200: ProofWithRecord },
      },
    },
    async ({ params }) => {
      const found = await findVerdictRecord(deps.pool, params.id);
      if (!found) throw new WhochangedError('not_found', 'no verdict has been given of such a change');
      return { ...proofItem(await proveVerdict(deps.pool, found)), record: found.record };
    },
  );

  server.get(
    '/v1/access-events/:seq/proof',
    {
      onRequest: auth.require('admin'),
      schema: {
        tags: TAGS,
        summary: 'Proof of an access event, under the newest checkpoint',
        params: Type.Object({ seq: Type.String({ pattern: '^[0-9]{1,15}$' }) }),
        response: { 200: ProofWithRecord },
      },
    },
    async ({ params: { seq } }) => {
      const record = await findAccessEvent(deps.db, seq);
      if (!record) throw new WhochangedError('not_found', `no access event has the number ${seq}`);
      return { ...proofItem(await proveAccessEvent(deps.pool, Number(seq), record)), record };
    },
  );
}

/** Two checkpoints may have one size: the key was changed, or whochanged was started anew. */
function readCheckpointCursor(cursor: string | undefined) {
  if (cursor === undefined) return undefined;
  const [size, time] = cursor.split('@') as [string, string];
  const signedAt = readTime('cursor', time)!;
  return { size: Number(size), signedAt };
}

/** What verifyLedger tells, as lines, while it goes on. */
async function* verdictLines(
  pool: Pool,
  keys: VerifierKey[],
  archive: ArchiveReader | undefined,
): AsyncGenerator<string> {
  const lines: string[] = [];
  let wake: () => void = () => undefined;
  const tell = (line: object) => {
    lines.push(`${JSON.stringify(line)}\n`);
    wake();
  };
  let ended = false;
  const verdict = verifyLedger(
    pool,
    keys,
    [],
    (problem) => tell({ problem }),
    (records) => tell({ records }),
    archive,
  ).finally(() => {
    ended = true;
    wake();
  });
  // Awaited below; a failure before that must not count as unhandled.
  verdict.catch(() => undefined);
  while (!ended || lines.length > 0) {
    yield* lines.splice(0);
    if (!ended && lines.length === 0) await new Promise<void>((resolve) => (wake = resolve));
  }
  yield `${JSON.stringify({ verdict: await verdict })}\n`;
}

function proofItem({ index, hashes, checkpoint, file, leaf }: Inclusion) {
  return {
    index,
    leaf,
    hashes: hashes.map((hash) => hash.toString('base64')),
    checkpoint: checkpoint.note,
    file,
  };
}
