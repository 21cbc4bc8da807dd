import type { ClientBase } from 'pg';
import { millisOfID } from '../../core/identity.js';
import { formatMicros, parseMicros } from '../../core/timestamp.js';
import type { VerdictRecord } from '../../core/verdict/verdict-record.js';

/** The columns of a verdict that its leaf in the proof log is of. */
export const VERDICT_RECORD_COLUMNS =
  'id, at, change_id, evaluated_at, verdict, reason, detail, environment, policy_digest, final, root_change_id, root_verdict, root_reason, document';

export interface VerdictRecordRow {
  id: string;
  at: string;
  change_id: string;
  evaluated_at: string;
  verdict: string;
  reason: string | null;
  detail: string;
  environment: string;
  policy_digest: string;
  final: boolean;
  root_change_id: string | null;
  root_verdict: string | null;
  root_reason: string | null;
  document: object;
}

export function verdictRecordOf(row: VerdictRecordRow): VerdictRecord {
  return {
    at: formatMicros(parseMicros(row.at)!),
    changeID: row.change_id,
    evaluatedAt: formatMicros(parseMicros(row.evaluated_at)!),
    verdict: row.verdict,
    reason: row.reason,
    detail: row.detail,
    environment: row.environment,
    policyDigest: row.policy_digest,
    final: row.final,
    rootChangeID: row.root_change_id,
    rootVerdict: row.root_verdict,
    rootReason: row.root_reason,
    document: row.document,
  };
}

/** A stored verdict, as the proof log knows it. */
export interface FoundVerdict {
  /** Its number. */
  id: number;
  clusterID: number;
  cluster: string;
  record: VerdictRecord;
}

/** The newest verdict of a change; undefined where none was given. */
export async function findVerdictRecord(
  client: Pick<ClientBase, 'query'>,
  changeID: string,
): Promise<FoundVerdict | undefined> {
  const millis = millisOfID(changeID);
  const { rows } = await client.query<VerdictRecordRow & { cluster_id: number; cluster: string }>({
    name: 'verdict-record',
    text: `select v.*, c.name as cluster from clusters c
             cross join lateral (
               select cluster_id, ${VERDICT_RECORD_COLUMNS} from verdicts
                where cluster_id = c.id and at >= $2 and at < $3 and change_id = $1 order by id desc limit 1) v`,
    values: [changeID, new Date(millis).toISOString(), new Date(millis + 1).toISOString()],
  });
  const row = rows[0];
  return (
    row && {
      id: Number(row.id),
      clusterID: row.cluster_id,
      cluster: row.cluster,
      record: verdictRecordOf(row),
    }
  );
}
