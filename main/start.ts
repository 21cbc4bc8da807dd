import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { registerApi } from '../api/api.js';
import { Auth } from '../api/auth.js';
import type { ApiDeps } from '../api/deps.js';
import { readVersion } from '../cli/version.js';
import { redactManifest } from '../core/redact/redact-manifest.js';
import { scanText } from '../core/redact/scan.js';
import { webhookManifest } from '../ingest/admission/manifest.js';
import { FORMATS } from '../ingest/formats/format.js';
import { webhookKubeconfig } from '../ingest/webhook/kubeconfig.js';
import { gitAnswers } from '../jobs/git/answers.js';
import { S3Archive } from '../store/archive/files.js';
import { createKysely } from '../store/database.js';
import { S3Clients } from '../store/s3-client.js';
import { peopleOf } from '../store/verdicts/people.js';
import { Graphs } from '../store/verdicts/repositories.js';
import { openAlerts } from './alerts-file.js';
import { authenticators } from './authenticators.js';
import type { Config } from './config.js';
import { prepareFirstStart, welcome } from './first-start.js';
import { type GateRole, startGate } from './gate-role.js';
import { openHookSecrets } from './hooks-file.js';
import { loadIdentities } from './identities.js';
import { type IngestRole, startIngest } from './ingest-role.js';
import { startJobs } from './jobs-role.js';
import { openPolicy } from './policy-file.js';
import { loadRedaction, redactionID } from './redaction.js';
import { buildServer } from './server.js';
import { recordSettings, settingsFiles } from './settings-log.js';
import { openStore } from './store-connection.js';
import { openTls } from './tls.js';

export interface System {
  /** Base URLs, with the ports really bound. */
  urls: { http: string; https: string };
  stop(): Promise<void>;
}

/** Where `npm run build` puts the page, from the sources and from the build. */
const PAGE_FOLDER = join(
  import.meta.dirname,
  import.meta.dirname.endsWith(join('dist', 'main')) ? '../web' : '../dist/web',
);

/** How long answers may take once we are told to stop: less than Kubernetes gives a pod. */
const LAST_ANSWERS_MS = 10_000;

const AWAY =
  '\n  whochanged is up, and Postgres is away: audit events are kept in the spool until it is back.\n\n';

/**
 * Starts every role of this process. Resolves when it serves; with Postgres away the receiver serves, and spools.
 * `announce` is given what a person is told: at once, and again once an absent Postgres is there.
 */
export async function start(
  config: Config,
  log: Logger,
  onFatal: (error: unknown) => void,
  announce: (text: string) => void = () => undefined,
): Promise<System> {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const store = await openStore(config, log, onFatal);
  const { certFile, keyFile, hostnames } = config.https;
  const tls = await openTls({ folder: join(config.dataDir, 'tls'), certFile, keyFile, hostnames }, log);
  // The embedded Postgres is there by now; an operator's may be away, and the receiver must not wait for it.
  if (store.embedded) await store.ready;

  const policy = openPolicy(config.policyFile, log);
  const loaded = await loadRedaction(config.redaction);
  const { redaction } = loaded;
  const identities = loadIdentities(config.identitiesFile);
  const judging = {
    policy,
    git: gitAnswers(
      config.git.dir,
      store.pool,
      {
        manifest: (manifest) => redactManifest(manifest, redaction.rules, redaction.digest),
        text: (text) => scanText(text, redaction.rules, redaction.digest),
        id: redactionID(loaded, readVersion()),
      },
      config.git.programs,
    ),
    people: peopleOf(identities),
    // 200 bytes for each commit of each mirror.
    graphs: new Graphs(),
  };

  const alerts = openAlerts(config.alertsFile, log);

  let publicURL = config.publicURL;
  const has = (role: Config['roles'][number]) => config.roles.includes(role);
  let ingest: IngestRole | undefined;
  let gate: GateRole | undefined;
  const onCommit = () => jobs?.poke('attribute');
  if (has('ingest')) ingest = await startIngest(config, store.pool, registry, log, onCommit);
  if (ingest) gate = startGate(config, store, ingest, judging, registry, log);
  store.ready.then(
    () => ingest?.s3.start(),
    () => undefined,
  );
  const archiveClients = new S3Clients();
  const archive = config.retention.archive && new S3Archive(archiveClients, config.retention.archive);
  const jobs = has('jobs')
    ? await startJobs(
        config,
        store,
        { judging, redaction, alerts, archive, s3: archiveClients, pageURL: () => publicURL },
        registry,
        log,
      )
    : undefined;

  const stopSettings = recordSettings(store.pool, settingsFiles(config), redaction.digest, log);
  const db = createKysely(store.pool);
  const deps: ApiDeps = {
    db,
    pool: store.pool,
    auth: new Auth(db, store.pool, authenticators(config, log)),
    limits: config.limits,
    registry,
    version: readVersion(),
    roles: config.roles,
    pageFolder: PAGE_FOLDER,
    kubeconfig: (source, credential) =>
      webhookKubeconfig({ baseURL: publicURL, source, caPem: tls.authorityPem, ...credential }),
    gate: { ...judging, pool: store.pool },
    gateManifest: (parts) => webhookManifest({ baseURL: publicURL, caPem: tls.authorityPem, ...parts }),
    issueClientCertificate: (commonName, days) => tls.issueClient(commonName, days),
    replay: ingest?.replay,
    importFile: ingest?.importFile,
    formats: FORMATS,
    runJob: jobs && ((name) => jobs.run(name)),
    alerts,
    pokeJob: (name) => jobs?.poke(name),
    hookSecrets: openHookSecrets(config.hooksFile, log),
    repoProtocols: config.git.protocols,
    judging,
    identities,
    archive: archive && {
      reader: archive,
      loadMaxEvents: config.retention.loadMaxEvents,
      loadedSeconds: config.retention.loadedSeconds,
    },
    spoolStatus: ingest?.spoolStatus,
    sourcesChanged: async () => {
      void ingest?.s3.poke();
      await ingest?.webhook.registry.reread();
    },
  };
  const parts = {
    log,
    timeouts: config.timeouts,
    webhook: ingest?.webhook,
    registerApi: (server: FastifyInstance) => registerApi(server, deps),
    gate: gate?.parts,
  };
  const http = await buildServer({ ...parts, tls: undefined });
  const https = await buildServer({ ...parts, tls });
  await http.listen({ host: config.http.host, port: config.http.port });
  await https.listen({ host: config.https.host, port: config.https.port });
  const urls = {
    http: `http://${reachableHost(config.http.host)}:${portOf(http)}`,
    https: config.publicURL.replace(/:0$/, `:${portOf(https)}`),
  };
  publicURL = urls.https;
  const greet = async () => {
    const first = await prepareFirstStart(store.pool, {
      dataDir: config.dataDir,
      publicURL: urls.https,
      caPem: tls.authorityPem,
    });
    await ingest?.webhook.registry.refresh();
    return welcome(first, { api: urls.http, webhook: urls.https });
  };
  if (store.embedded || (await settled(store.ready))) announce(await greet());
  else {
    announce(AWAY);
    // It rejects when the process stops first, or a migration fails, which is fatal by itself.
    store.ready.then(
      () => greet().then(announce, onFatal),
      () => undefined,
    );
  }
  return {
    urls,
    stop: async () => {
      // What is being answered is answered; a connection that stays open without an end must not keep us from ending.
      const last = setTimeout(() => {
        for (const { server } of [http, https]) server.closeAllConnections();
      }, LAST_ANSWERS_MS);
      await Promise.all([http.close(), https.close()]);
      clearTimeout(last);
      tls.stop();
      stopSettings();
      await gate?.stop();
      await ingest?.stop();
      await jobs?.stop();
      await archiveClients.stop();
      await store.stop();
    },
  };
}

/** Whether a promise resolves within a moment. */
async function settled(promise: Promise<void>): Promise<boolean> {
  const moment = new Promise<false>((resolve) => setTimeout(() => resolve(false), 5000));
  return Promise.race([
    promise.then(
      () => true,
      () => false,
    ),
    moment,
  ]);
}

function portOf(server: FastifyInstance): number {
  return (server.server.address() as AddressInfo).port;
}

/** What listens on every address can't be asked at that one. */
function reachableHost(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}
