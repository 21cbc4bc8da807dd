import { describeLedgerVerdict, type LedgerVerdict } from '../core/log/ledger-verdict.js';
import { type ArchiveReader, FolderArchive, S3Archive } from '../store/archive/files.js';
import { createPool } from '../store/database.js';
import { verifyLedger } from '../store/log/verify-ledger.js';
import { S3Clients } from '../store/s3-client.js';
import { parseS3Place } from '../store/s3-place.js';
import { readCheckpointCopies } from './checkpoint-copies.js';
import { readTrustedKeys } from './keys.js';

export interface DatabaseFlags {
  keyFile: string;
  databaseUrl?: string;
  checkpoints?: string;
  archive?: string;
}

function openArchive(clients: S3Clients, place: string): ArchiveReader {
  if (!place.startsWith('s3://')) return new FolderArchive(place);
  return new S3Archive(clients, parseS3Place(place));
}

/**
 * Checks a whole database, as `whochanged-verify database` is told to, and says what it finds line by line.
 * @throws where it can't be checked: without a database, or without keys
 */
export async function verifyDatabase(
  flags: DatabaseFlags,
  say: (line: string) => void,
): Promise<LedgerVerdict> {
  const connectionString = flags.databaseUrl ?? process.env.DATABASE_URL;
  if (!connectionString) throw new Error('no database: set --database-url or DATABASE_URL');
  const keys = await readTrustedKeys(flags.keyFile);
  const copies = flags.checkpoints ? await readCheckpointCopies(flags.checkpoints) : [];
  const pool = createPool({ connectionString, poolSize: 3, applicationName: 'whochanged-verify' });
  const clients = new S3Clients();
  try {
    const archive = flags.archive === undefined ? undefined : openArchive(clients, flags.archive);
    const progress = (records: number) => {
      if (process.stderr.isTTY) process.stderr.write(`\r${records} records`);
    };
    const result = await verifyLedger(pool, keys, copies, say, progress, archive);
    if (process.stderr.isTTY) process.stderr.write('\n');
    say(describeLedgerVerdict(result));
    return result;
  } finally {
    await clients.stop();
    await pool.end();
  }
}
