import type { ClientBase } from 'pg';
import { DEPLOYMENTS, type Deployable, manifest } from './history.js';
import { type Key, LedgerRows } from './ledger-rows.js';

/** What each deployment makes: two records of the sync, the objects, what controllers do of it, pipelines, people. */
const DERIVED = 34;
const PIPELINES = 6;
const PEOPLE = 4;
export const CHANGES_PER_DEPLOYMENT = 2 + DEPLOYMENTS + DERIVED + PIPELINES + PEOPLE;
/** Between two deployments, in microseconds. */
const STEP = 30 * 1e6;

/** Writes a ledger as the receiver and attribution would have left it, through COPY. */
export class Deployments {
  readonly #rows: LedgerRows;
  readonly #start: number;
  #count = 0;

  constructor(client: ClientBase, clusterID: number, start: number) {
    this.#rows = new LedgerRows(client, clusterID);
    this.#start = start;
  }

  /** When the last deployment was, in microseconds. */
  get until(): number {
    return this.#start + this.#count * STEP;
  }

  /** Adds what one deployment makes. */
  add({ repo, url, sha, application, image }: Deployable): void {
    const at = this.#start + this.#count++ * STEP;
    const namespace = `${repo}-${application}`;
    const app = { apiGroup: 'argoproj.io', resource: 'applications', namespace: 'argocd', name: namespace };
    const controller = this.#rows.user('system:serviceaccount:argocd:argocd-application-controller');
    const deployed = Array.from({ length: DEPLOYMENTS }, (_, i) => ({
      ...app,
      apiGroup: 'apps',
      resource: 'deployments',
      namespace,
      name: `app-${i}`,
    }));
    const stamp = (seconds: number) => `${new Date(at / 1000 + seconds * 1000).toISOString().slice(0, 19)}Z`;
    const source = { repoURL: url, path: `apps/${application}`, targetRevision: 'main' };
    const operation = { initiatedBy: { automated: true }, sync: { revision: sha } };
    const record = (more: object) => ({
      apiVersion: 'argoproj.io/v1alpha1',
      kind: 'Application',
      metadata: { name: namespace, namespace: 'argocd' },
      spec: { source, destination: { namespace }, syncPolicy: { automated: { selfHeal: true } } },
      status: { operationState: { operation, startedAt: stamp(0), ...more } },
    });
    this.#rows.write(at, app, controller, record({ phase: 'Running' }));
    const roots = deployed.map((key, i) => {
      const body = manifest(repo, application, i, image) as { metadata: object };
      body.metadata = {
        ...body.metadata,
        annotations: {
          'argocd.argoproj.io/tracking-id': `${namespace}:apps/Deployment:${namespace}/app-${i}`,
        },
        resourceVersion: String(this.#rows.seq + 1),
      };
      const written = at + 1e6 + i * 1000;
      return { at: written, changeID: this.#rows.write(written, key, controller, body) };
    });
    this.#rows.write(
      at + 4e6,
      app,
      controller,
      record({
        phase: 'Succeeded',
        finishedAt: stamp(3),
        syncResult: {
          revision: sha,
          source,
          resources: deployed.map(({ name }) => ({
            group: 'apps',
            version: 'v1',
            kind: 'Deployment',
            namespace,
            name,
          })),
        },
      }),
    );
    const replicaSets = this.#rows.user('system:serviceaccount:kube-system:replicaset-controller');
    for (let i = 0; i < DERIVED; i++) {
      const key = {
        apiGroup: '',
        resource: 'pods',
        namespace,
        name: `app-${i % DEPLOYMENTS}-${this.#count % 50}-${i}`,
      };
      const derivedAt = at + 5e6 + i * 1000;
      const id = this.#rows.write(derivedAt, key, replicaSets, undefined, 'derived');
      const root = roots[i % DEPLOYMENTS]!;
      this.#rows.attribute(id, derivedAt, root);
    }
    const pipeline = this.#rows.user(`system:serviceaccount:ci:${repo}`, {
      'ci/sha': [sha],
      'ci/repository': [repo],
    });
    for (let i = 0; i < PIPELINES; i++) {
      const key = { apiGroup: '', resource: 'configmaps', namespace: `ci-${repo}`, name: `job-${i}` };
      this.#rows.write(at + 10e6 + i * 1000, key, pipeline, configMap(key, this.#rows.seq));
    }
    for (let i = 0; i < PEOPLE; i++) {
      const key = deployed[i % DEPLOYMENTS]!;
      const body = manifest(repo, application, i % DEPLOYMENTS, `web:hand-${this.#rows.seq}`) as {
        metadata: object;
      };
      body.metadata = {
        ...body.metadata,
        annotations: {
          'argocd.argoproj.io/tracking-id': `${namespace}:apps/Deployment:${namespace}/${key.name}`,
        },
      };
      this.#rows.write(
        at + 20e6 + i * 1000,
        key,
        this.#rows.user(`person-${this.#count % 40}@example.com`),
        body,
      );
    }
  }

  /** Sends what was added. */
  async send(): Promise<void> {
    await this.#rows.send();
  }
}

function configMap(key: Key, number: number): object {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: key.name, namespace: key.namespace, resourceVersion: String(number) },
    data: { run: String(number) },
  };
}
