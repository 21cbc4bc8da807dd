import type { ClientBase } from 'pg';
import { EMPTY_ROOT } from '../../core/log/merkle.js';
import { hashRanges } from '../../core/log/tiles.js';
import { readLogSize, tileLoader } from './sequence.js';

type Queryable = Pick<ClientBase, 'query'>;

/** A stored checkpoint: the note as it was signed, and what it says. */
export interface StoredCheckpoint {
  size: number;
  signedAt: string;
  root: Buffer;
  note: string;
  /** When it was put where the database can't reach it. */
  copiedAt: string | null;
  /** Until when the store of the copy said that it is locked; null where it is not. */
  lockedUntil: string | null;
}

/** A row of log_checkpoints. */
export interface CheckpointRow {
  size: string;
  signed_at: string;
  root: Buffer;
  note: string;
  copied_at: string | null;
  locked_until: string | null;
}

export const CHECKPOINT_COLUMNS = 'size, signed_at, root, note, copied_at, locked_until';

export function storedCheckpoint(row: CheckpointRow): StoredCheckpoint {
  return {
    size: Number(row.size),
    signedAt: row.signed_at,
    root: row.root,
    note: row.note,
    copiedAt: row.copied_at,
    lockedUntil: row.locked_until,
  };
}

/** The tree as it is now. */
export async function readTreeHead(client: Queryable): Promise<{ size: number; root: Buffer }> {
  const size = await readLogSize(client);
  if (size === 0) return { size, root: EMPTY_ROOT };
  const [root] = await hashRanges([{ start: 0, end: size }], tileLoader(client));
  return { size, root: root! };
}

export async function findLatestCheckpoint(client: Queryable): Promise<StoredCheckpoint | undefined> {
  const { rows } = await client.query<CheckpointRow>(
    `select ${CHECKPOINT_COLUMNS} from log_checkpoints order by size desc, signed_at desc limit 1`,
  );
  return rows[0] && storedCheckpoint(rows[0]);
}

/** Every checkpoint in the order of size, and of the time of signing where a size was signed twice, behind one of them. */
export async function findCheckpoints(
  client: Queryable,
  after: Pick<StoredCheckpoint, 'size' | 'signedAt'> | undefined,
  limit: number,
): Promise<StoredCheckpoint[]> {
  const { rows } = await client.query<CheckpointRow>(
    `select ${CHECKPOINT_COLUMNS} from log_checkpoints where (size, signed_at) > ($1, $2) order by size, signed_at limit $3`,
    [after?.size ?? -1, after?.signedAt ?? '-infinity', limit],
  );
  return rows.map(storedCheckpoint);
}

/** How far the log has come, been signed, and been brought where the database can't reach it. */
export interface LogStatus {
  /** Leaves. */
  size: number;
  signed: StoredCheckpoint | undefined;
  /** The newest that was copied. */
  copied: StoredCheckpoint | undefined;
  /** Why the newest could not be copied, the last time that it was tried. */
  copyError: string | null;
}

export async function findLogStatus(client: Queryable): Promise<LogStatus> {
  const { rows } = await client.query<CheckpointRow & { copy_error: string | null }>(
    `(select ${CHECKPOINT_COLUMNS}, copy_error from log_checkpoints order by size desc, signed_at desc limit 1)
     union all
     (select ${CHECKPOINT_COLUMNS}, copy_error from log_checkpoints where copied_at is not null order by size desc, signed_at desc limit 1)`,
  );
  const copied = rows.find((row) => row.copied_at !== null);
  return {
    size: await readLogSize(client),
    signed: rows[0] && storedCheckpoint(rows[0]),
    copied: copied && storedCheckpoint(copied),
    copyError: rows[0]?.copy_error ?? null,
  };
}

export async function appendCheckpoint(
  client: Queryable,
  checkpoint: { size: number; root: Buffer; note: string; signedAt: Date },
): Promise<void> {
  await client.query('insert into log_checkpoints (size, signed_at, root, note) values ($1, $2, $3, $4)', [
    checkpoint.size,
    checkpoint.signedAt,
    checkpoint.root,
    checkpoint.note,
  ]);
}

/** Remembers a public key that signs from now on, and retires others of its name. */
export async function recordKey(client: Queryable, name: string, verifierKey: string): Promise<void> {
  await client.query(
    `with used as (
       insert into log_keys (verifier_key, name) values ($2, $1)
       on conflict (verifier_key) do update set retired_at = null returning verifier_key)
     update log_keys k set retired_at = coalesce(k.retired_at, now())
       from used where k.name = $1 and k.verifier_key <> used.verifier_key`,
    [name, verifierKey],
  );
}

export interface LogKey {
  verifierKey: string;
  name: string;
  firstUsedAt: string;
  retiredAt: string | null;
}

export async function findKeys(client: Queryable): Promise<LogKey[]> {
  const { rows } = await client.query<{
    verifier_key: string;
    name: string;
    first_used_at: string;
    retired_at: string | null;
  }>('select verifier_key, name, first_used_at, retired_at from log_keys order by first_used_at');
  return rows.map((row) => ({
    verifierKey: row.verifier_key,
    name: row.name,
    firstUsedAt: row.first_used_at,
    retiredAt: row.retired_at,
  }));
}
