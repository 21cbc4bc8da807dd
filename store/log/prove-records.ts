import type { ClientBase } from 'pg';
import { type AccessEvent, accessEventDigest } from '../../core/access/access-event.js';
import { parseMicros } from '../../core/timestamp.js';
import { verdictRecordDigest } from '../../core/verdict/verdict-record.js';
import type { EventRow } from '../queries/events.js';
import type { StoredCheckpoint } from './checkpoints.js';
import { type Inclusion, proveLeaf } from './proofs.js';
import type { FoundVerdict } from './verdict-records.js';

type Queryable = Pick<ClientBase, 'query'>;

/** Proves an event. @throws WhochangedError as proveLeaf */
export function proveEvent(
  client: Queryable,
  row: EventRow,
  checkpoint?: StoredCheckpoint,
): Promise<Inclusion> {
  const { cluster, source: origin, digest } = row;
  const leaf = {
    type: 'event' as const,
    cluster,
    origin,
    seq: Number(row.seq),
    at: parseMicros(row.at)!,
    digest,
  };
  return proveLeaf(client, row.cluster_id, leaf, checkpoint);
}

/** Proves a verdict. @throws WhochangedError as proveLeaf */
export function proveVerdict(
  client: Queryable,
  { id, clusterID, cluster, record }: FoundVerdict,
  checkpoint?: StoredCheckpoint,
): Promise<Inclusion> {
  const at = parseMicros(record.evaluatedAt)!;
  const leaf = {
    type: 'verdict' as const,
    cluster,
    origin: '',
    seq: id,
    at,
    digest: verdictRecordDigest(record),
  };
  return proveLeaf(client, clusterID, leaf, checkpoint);
}

/** Proves an access event of this number. @throws WhochangedError as proveLeaf */
export function proveAccessEvent(
  client: Queryable,
  seq: number,
  event: AccessEvent,
  checkpoint?: StoredCheckpoint,
): Promise<Inclusion> {
  const digest = accessEventDigest(event);
  const leaf = { type: 'access' as const, cluster: '', origin: '', seq, at: event.at, digest };
  return proveLeaf(client, 0, leaf, checkpoint);
}
