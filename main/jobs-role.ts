import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { readVersion } from '../cli/version.js';
import type { Redaction } from '../core/accept.js';
import { scanText } from '../core/redact/scan.js';
import { deliverAlertsJob } from '../jobs/alerts/deliver-alerts.js';
import { createAlertMetrics } from '../jobs/alerts/metrics.js';
import { pruneAlertsJob } from '../jobs/alerts/prune-alerts.js';
import { raiseAlertsJob } from '../jobs/alerts/raise-alerts.js';
import { attributeJob } from '../jobs/attribute.js';
import { openJobBodies } from '../jobs/body-cache.js';
import { copyCheckpointsJob, createCheckpointCopyMetrics } from '../jobs/checkpoint-copies.js';
import { clusterStatisticsJob } from '../jobs/cluster-statistics.js';
import { compactMonthsJob } from '../jobs/compact-months.js';
import { findGapsJob } from '../jobs/completeness/find-gaps.js';
import { createCompletenessMetrics } from '../jobs/completeness/metrics.js';
import { sampleCountersJob } from '../jobs/completeness/sample-counters.js';
import { writeCanariesJob } from '../jobs/completeness/write-canaries.js';
import { deliverReportsJob } from '../jobs/deliver-reports.js';
import { fetchReposJob } from '../jobs/git/fetch-repos.js';
import { createGitMetrics } from '../jobs/git/metrics.js';
import { syncHostsJob } from '../jobs/hosts/sync-hosts.js';
import type { Job } from '../jobs/job.js';
import { linkDecisionsJob } from '../jobs/link-decisions.js';
import { linksJob } from '../jobs/links.js';
import { partitionsJob } from '../jobs/partitions.js';
import { checkpointJob, lateLeavesJob, sequenceLogJob } from '../jobs/proof-log.js';
import { pruneJobRunsJob } from '../jobs/prune-job-runs.js';
import { createReportMetrics } from '../jobs/report-metrics.js';
import { retentionJob, sweepBodiesJob } from '../jobs/retention.js';
import { createRetentionMetrics } from '../jobs/retention-metrics.js';
import { JobRunner } from '../jobs/runner.js';
import { settleOutcomesJob } from '../jobs/settle-outcomes.js';
import { verdictsJob } from '../jobs/verdicts.js';
import type { S3Archive } from '../store/archive/files.js';
import type { BodyCache } from '../store/body-cache.js';
import { createPool } from '../store/database.js';
import type { S3Clients } from '../store/s3-client.js';
import type { openAlerts } from './alerts-file.js';
import type { Config } from './config.js';
import { loadOrCreateLogKey } from './log-key.js';
import { loadDeliveries } from './reports-file.js';
import type { StoreConnection } from './store-connection.js';

/** Locks are held on connections while jobs run; a pool of their own keeps them from starving the others. */
const CONNECTIONS = 10;

export interface JobsRole {
  /** Runs a job now, by its name. */
  run: JobRunner['run'];
  /** Lets a job run soon, where this process leads. */
  poke(name: string): void;
  stop(): Promise<void>;
}

/** What jobs share with the other roles. */
interface SharedParts {
  judging: Parameters<typeof verdictsJob>[0];
  redaction: Redaction;
  alerts: ReturnType<typeof openAlerts>;
  archive: S3Archive | undefined;
  s3: S3Clients;
  /** Where people find the page, as is said in alerts. */
  pageURL: () => string;
}

/** What jobs share with each other, besides. */
interface JobParts extends SharedParts {
  bodies: BodyCache;
}

/** What runs on a schedule. Starts once Postgres is there. */
export async function startJobs(
  config: Config,
  store: StoreConnection,
  shared: SharedParts,
  registry: Registry,
  log: Logger,
): Promise<JobsRole> {
  const pool = createPool({
    ...store.options,
    poolSize: CONNECTIONS,
    applicationName: 'whochanged-jobs',
  });
  pool.on('error', (error) => log.warn({ err: error }, 'a job lost its connection to Postgres'));
  const poke = (name: string) => runner.poke(name);
  const signer = { origin: config.log.origin, privateKey: await loadOrCreateLogKey(config.log.keyFile) };
  const parts = { ...shared, bodies: openJobBodies() };
  const jobs = [
    ...ownJobs(config, signer, parts, registry),
    ...configuredJobs(config, parts, registry, poke),
  ];
  const runner = new JobRunner({ pool, jobs, log, registry });
  store.ready.then(
    () => runner.start(),
    () => undefined,
  );
  return {
    run: (name) => runner.run(name),
    poke,
    stop: async () => {
      await runner.stop();
      await pool.end();
    },
  };
}

/** The jobs that every installation has, in the order in which missed runs are caught up; a backlog of attribution may be long. */
function ownJobs(
  config: Config,
  signer: Parameters<typeof checkpointJob>[0],
  { judging, redaction, bodies }: JobParts,
  registry: Registry,
): Job[] {
  const places = credentialPlaces(config);
  const completeness = createCompletenessMetrics(registry);
  return [
    partitionsJob(),
    compactMonthsJob(),
    settleOutcomesJob(),
    clusterStatisticsJob(),
    pruneJobRunsJob(),
    sequenceLogJob(),
    lateLeavesJob(),
    checkpointJob(signer),
    sampleCountersJob(places, completeness),
    writeCanariesJob(places, completeness),
    findGapsJob(completeness),
    attributeJob(bodies),
    linksJob(judging.policy, judging.git, bodies, judging.graphs),
    verdictsJob(judging, bodies),
    linkDecisionsJob(),
    syncHostsJob({ credentials: places, syncSeconds: config.hostSyncSeconds, registry }),
    fetchRepos(config, redaction, registry),
  ];
}

/** The jobs of what is only there where somebody configured it. */
function configuredJobs(
  config: Config,
  { alerts, archive, s3, pageURL, bodies }: JobParts,
  registry: Registry,
  poke: (name: string) => void,
): Job[] {
  const { checkpoints, policy, alertsKeepDays, loadMaxEvents, loadedSeconds } = config.retention;
  const credentials = credentialPlaces(config);
  const deliveries = loadDeliveries(config.reportsFile);
  const jobs: Job[] = [];
  if (alertsKeepDays > 0) jobs.push(pruneAlertsJob(alertsKeepDays));
  if (checkpoints) jobs.push(copyCheckpointsJob(s3, checkpoints, createCheckpointCopyMetrics(registry)));
  if (archive)
    jobs.push(retentionJob({ policy, archive, metrics: createRetentionMetrics(registry) }), sweepBodiesJob());
  if (deliveries.length > 0) {
    const reached = archive && { reader: archive, loadMaxEvents, loadedSeconds };
    const version = readVersion();
    const metrics = createReportMetrics(registry);
    jobs.push(deliverReportsJob({ deliveries, s3, credentials, version, archive: reached, metrics }));
  }
  if (alerts) {
    const metrics = createAlertMetrics(registry);
    jobs.push(
      raiseAlertsJob({ alerts, metrics, raised: () => poke('deliver-alerts') }, bodies),
      deliverAlertsJob({ alerts, credentials, metrics, pageURL }),
    );
  }
  return jobs;
}

/** The job that mirrors git repositories, as it is configured. */
function fetchRepos(config: Config, { rules, digest }: Redaction, registry: Registry): Job {
  const { dir, protocols, fetchSeconds, timeoutSeconds, allowedSignersFile, keyringFile } = config.git;
  return fetchReposJob({
    gitDir: dir,
    protocols,
    intervalSeconds: fetchSeconds,
    timeoutSeconds,
    credentials: credentialPlaces(config),
    signers: { allowedSignersFile, keyringFile },
    redactText: (text) => scanText(text, rules, digest),
    metrics: createGitMetrics(registry),
  });
}

/** Where secrets that others gave us are looked for by their names. */
function credentialPlaces(config: Config) {
  return { folder: config.credentialsDir, environment: process.env };
}
