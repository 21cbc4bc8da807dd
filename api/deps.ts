import type { Readable } from 'node:stream';
import type { Kysely } from 'kysely';
import type { Pool } from 'pg';
import type { Registry } from 'prom-client';
import type { Alerts } from '../core/alerts/read-alerts.js';
import type { GateSettings } from '../core/gate/decision.js';
import type { GitProtocol } from '../core/git/repo-url.js';
import type { HookSecrets } from '../core/hosts/hook-secrets.js';
import type { Identities } from '../core/identity-map/identities.js';
import type { GateMeans } from '../store/gate/judge-admission.js';
import type { LoadedPolicy } from '../store/policies.js';
import type { Database } from '../store/schema.js';
import type { GitAnswers } from '../store/verdicts/commit-facts.js';
import type { People } from '../store/verdicts/judge.js';
import type { Graphs } from '../store/verdicts/repositories.js';
import type { ApiArchive } from './archive.js';
import type { Auth } from './auth.js';

export interface ReplayResult {
  stored: number;
  duplicates: number;
  quarantined: number;
  /** Why it is still not accepted. */
  detail?: string;
}

/** A file that somebody imports. */
export interface ImportRequest {
  source: { name: string; sourceID: number; clusterID: number };
  name: string;
  format: string;
  /** In hex; undefined for a stream. */
  sha256: string | undefined;
  size: number | undefined;
}

export interface ImportResult {
  id: string;
  /** It had been imported before: nothing was read. */
  known: boolean;
  events: number;
  duplicates: number;
  quarantined: number;
  skipped: number;
  salvaged: number;
  trouble: { code: string; message: string; hint?: string } | undefined;
}

/** What the routes need beyond the store; main/ passes in what belongs to other roles, which may run elsewhere. */
export interface ApiDeps {
  db: Kysely<Database>;
  pool: Pool;
  /** One for all listeners, so that a revoked token is forgotten by each. */
  auth: Auth;
  limits: { requestsPerMinute: number; failedLoginsPerMinute: number };
  registry: Registry;
  version: string;
  roles: string[];
  /** The folder of the built page (web/). */
  pageFolder: string;
  /** The kubeconfig for --audit-webhook-config-file. */
  kubeconfig(
    source: string,
    credential: { token?: string; clientCertificate?: { certificatePem: string; keyPem: string } },
  ): string;
  /** What commits are judged with, where it isn't the job that does. */
  gate: GateMeans;
  /** The ValidatingWebhookConfiguration, as YAML. */
  gateManifest(parts: {
    cluster: string;
    settings: GateSettings;
    timeoutSeconds: number;
    exempt: readonly string[];
  }): string;
  issueClientCertificate(
    commonName: string,
    days: number,
  ): Promise<{ certificatePem: string; keyPem: string }>;
  /** Undefined where this process doesn't receive. */
  replay:
    | ((source: { sourceID: number; clusterID: number }, sample: string) => Promise<ReplayResult>)
    | undefined;
  /** Undefined where this process doesn't receive. */
  importFile: ((request: ImportRequest, input: Readable) => Promise<ImportResult>) | undefined;
  /** The names of the formats of objects and files. */
  formats: readonly string[];
  runJob: ((name: string) => Promise<unknown>) | undefined;
  /** The rules and receivers of alerts; undefined: none are configured. */
  alerts: (() => Alerts) | undefined;
  /** Says that a job has something to do; where it runs elsewhere, it finds out by itself. */
  pokeJob(name: string): void;
  /** By what webhooks prove who sends them; asked each time, since they are replaced while we run. */
  hookSecrets(): HookSecrets;
  /** By what repositories may be fetched. */
  repoProtocols: readonly GitProtocol[];
  /** What verdicts are made with: for dry runs of other policies. */
  judging: {
    policy: () => Promise<LoadedPolicy>;
    git: GitAnswers | undefined;
    people: People;
    graphs?: Graphs;
  };
  /** Who is who, by the mapping of identities. */
  identities: Identities;
  /** Undefined where nothing is archived, or this process has no access to the archive. */
  archive: ApiArchive | undefined;
  spoolStatus: (() => { bytes: number }) | undefined;
  /** Called when sources, their credentials or what is to be read of them have changed. Resolves once this process goes by it. */
  sourcesChanged(): Promise<void>;
}
