import type { ClientBase } from 'pg';
import type { S3Clients } from '../s3-client.js';
import type { S3Place } from '../s3-place.js';
import type { StoredCheckpoint } from './checkpoints.js';

type Queryable = Pick<ClientBase, 'query'>;

/** What servers say that know no Object Lock, or a bucket that was made without. */
const NO_LOCK = [
  'ObjectLockConfigurationNotFoundError',
  'NotImplemented',
  'MethodNotAllowed',
  'NoSuchObjectLockConfiguration',
];

/** The key under which a checkpoint's copy lies: keys sort by size. */
export function checkpointKey({ prefix }: S3Place, checkpoint: { size: number; signedAt: string }): string {
  const time = checkpoint.signedAt.replace(/[^0-9TZ]/g, '');
  return `${prefix}${String(checkpoint.size).padStart(16, '0')}-${time}.checkpoint`;
}

/** Whether objects of this bucket can be locked. Unknown answers are thrown: a copy must not be called locked by guess. */
export async function canLock(clients: S3Clients, place: S3Place): Promise<boolean> {
  const { GetObjectLockConfigurationCommand } = await import('@aws-sdk/client-s3');
  const s3 = await clients.s3(place);
  try {
    const { ObjectLockConfiguration: found } = await s3.send(
      new GetObjectLockConfigurationCommand({ Bucket: place.bucket }),
    );
    return found?.ObjectLockEnabled === 'Enabled';
  } catch (error) {
    if (NO_LOCK.includes((error as Error).name)) return false;
    throw error;
  }
}

/**
 * Puts a checkpoint where the database can't reach it, locked until then where `lockedUntil` is given (COMPLIANCE: nobody
 * can delete it or shorten that), and reads that very version back.
 * @returns until when the store says that the copy is locked; undefined where it doesn't say so: a header that was sent
 * is no lock, and who may not see retentions (`s3:GetObjectRetention`) knows of none
 * @throws Error of the SDK, or when what is read back is another text
 */
export async function copyCheckpoint(
  clients: S3Clients,
  place: S3Place,
  checkpoint: StoredCheckpoint,
  lockedUntil: Date | undefined,
): Promise<Date | undefined> {
  const { GetObjectCommand, PutObjectCommand } = await import('@aws-sdk/client-s3');
  const s3 = await clients.s3(place);
  const at = { Bucket: place.bucket, Key: checkpointKey(place, checkpoint) };
  const { VersionId } = await s3.send(
    new PutObjectCommand({
      ...at,
      Body: checkpoint.note,
      ContentType: 'text/plain; charset=utf-8',
      ...(lockedUntil && {
        ObjectLockMode: 'COMPLIANCE',
        ObjectLockRetainUntilDate: lockedUntil,
        // Object Lock takes no object without a checksum.
        ChecksumAlgorithm: 'SHA256',
      }),
    }),
  );
  const found = await s3.send(new GetObjectCommand({ ...at, ...(VersionId && { VersionId }) }));
  if ((await found.Body?.transformToString()) !== checkpoint.note)
    throw new Error(`${at.Key} reads back as another text than was written`);
  return found.ObjectLockMode === 'COMPLIANCE' ? found.ObjectLockRetainUntilDate : undefined;
}

/** Every copy that lies there, as notes: the objects whose keys end in `.checkpoint`. */
export async function readCopies(clients: S3Clients, place: S3Place): Promise<string[]> {
  const { GetObjectCommand, paginateListObjectsV2 } = await import('@aws-sdk/client-s3');
  const client = await clients.s3(place);
  const notes: string[] = [];
  for await (const page of paginateListObjectsV2(
    { client },
    { Bucket: place.bucket, Prefix: place.prefix },
  )) {
    for (const { Key } of page.Contents ?? []) {
      if (!Key?.endsWith('.checkpoint')) continue;
      const { Body } = await client.send(new GetObjectCommand({ Bucket: place.bucket, Key }));
      notes.push((await Body?.transformToString()) ?? '');
    }
  }
  return notes;
}

/** Remembers what came of copying a checkpoint. */
export async function recordCopy(
  client: Queryable,
  { size, signedAt }: { size: number; signedAt: string },
  outcome: { error: string } | { lockedUntil: Date | undefined },
): Promise<void> {
  const error = 'error' in outcome ? outcome.error : null;
  const lockedUntil = 'error' in outcome ? null : outcome.lockedUntil;
  await client.query(
    `update log_checkpoints
        set copied_at = case when $3::text is null then now() else copied_at end, copy_error = $3, locked_until = $4
      where size = $1 and signed_at = $2`,
    [size, signedAt, error, lockedUntil],
  );
}
