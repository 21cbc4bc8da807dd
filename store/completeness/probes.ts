import { type Kysely, sql } from 'kysely';
import type { ClientBase } from 'pg';
import type { Database } from '../schema.js';

/** Where an apiserver's metrics are, and the references of the credentials for them (jobs/credentials.ts). */
export interface MetricsProbe {
  url: string;
  token: string | null;
  ca: string | null;
  cert: string | null;
  key: string | null;
}

/** The reference of a kubeconfig, and where the canary is written. */
export interface CanaryProbe {
  kubeconfig: string;
  namespace: string;
}

interface ProbedSource {
  sourceID: number;
  clusterID: number;
  name: string;
}

/** Enabled sources whose counters were last asked for before a time, or never. */
export async function findMetricsProbes(
  client: ClientBase,
  askedBefore: Date,
): Promise<Array<ProbedSource & { probe: MetricsProbe }>> {
  const { rows } = await client.query<ProbedSource & MetricsProbe>(
    `select s.id as "sourceID", s.cluster_id as "clusterID", s.name, p.metrics_url as url, p.metrics_token as token,
            p.metrics_ca as ca, p.metrics_cert as cert, p.metrics_key as key
       from source_probes p join sources s on s.id = p.source_id
      where p.metrics_url is not null and s.disabled_at is null
        and (p.metrics_asked_at is null or p.metrics_asked_at < $1) order by s.id`,
    [askedBefore],
  );
  return rows.map(({ sourceID, clusterID, name, ...probe }) => ({ sourceID, clusterID, name, probe }));
}

/** The same for canaries. */
export async function findCanaryProbes(
  client: ClientBase,
  askedBefore: Date,
): Promise<Array<ProbedSource & { probe: CanaryProbe }>> {
  const { rows } = await client.query<ProbedSource & CanaryProbe>(
    `select s.id as "sourceID", s.cluster_id as "clusterID", s.name, p.canary_kubeconfig as kubeconfig,
            p.canary_namespace as namespace
       from source_probes p join sources s on s.id = p.source_id
      where p.canary_kubeconfig is not null and s.disabled_at is null
        and (p.canary_asked_at is null or p.canary_asked_at < $1) order by s.id`,
    [askedBefore],
  );
  return rows.map(({ sourceID, clusterID, name, ...probe }) => ({ sourceID, clusterID, name, probe }));
}

/** Notes an attempt, and what went wrong with it. */
export async function recordAttempt(
  client: ClientBase,
  probe: 'metrics' | 'canary',
  sourceID: number,
  at: Date,
  error: string | undefined,
): Promise<void> {
  await client.query(
    `update source_probes set ${probe}_asked_at = $2, ${probe}_error = $3 where source_id = $1`,
    [sourceID, at, error ?? null],
  );
}

/** What is known of a source's probes: how they are set, and how they fare. */
export interface ProbesItem {
  metrics_url: string | null;
  metrics_token: string | null;
  metrics_ca: string | null;
  metrics_cert: string | null;
  metrics_key: string | null;
  metrics_asked_at: string | null;
  metrics_error: string | null;
  canary_kubeconfig: string | null;
  canary_namespace: string | null;
  canary_asked_at: string | null;
  canary_error: string | null;
}

/** Sets, or with null ends, a source's probes; what is undefined stays as it is. */
export async function setProbes(
  db: Kysely<Database>,
  sourceID: number,
  probes: { metrics?: MetricsProbe | null; canary?: CanaryProbe | null },
): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    await sql`insert into source_probes (source_id) values (${sourceID}) on conflict do nothing`.execute(
      transaction,
    );
    const { metrics, canary } = probes;
    if (metrics !== undefined) {
      await sql`update source_probes set metrics_url = ${metrics?.url ?? null}, metrics_token = ${metrics?.token ?? null},
                       metrics_ca = ${metrics?.ca ?? null}, metrics_cert = ${metrics?.cert ?? null},
                       metrics_key = ${metrics?.key ?? null}, metrics_asked_at = null, metrics_error = null
                 where source_id = ${sourceID}`.execute(transaction);
    }
    if (canary !== undefined) {
      await sql`update source_probes set canary_kubeconfig = ${canary?.kubeconfig ?? null},
                       canary_namespace = ${canary?.namespace ?? null}, canary_asked_at = null, canary_error = null
                 where source_id = ${sourceID}`.execute(transaction);
    }
  });
}
