import { setTimeout as sleep } from 'node:timers/promises';
import type { KubeAnswer, Live } from './live-setup.js';

type Body = Record<string, unknown>;

const APPLY = 'application/apply-patch+yaml';
const JSON_PATCH = 'application/json-patch+json';
const MERGE = 'application/merge-patch+json';
const FLUX = 'flux-system';
const DEPLOYMENTS = '/apis/apps/v1/namespaces/shop/deployments';
const APPLICATION = '/apis/argoproj.io/v1alpha1/namespaces/argocd/applications';
const KUSTOMIZATION = `/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/${FLUX}/kustomizations`;
const GIT_REPOSITORY = `/apis/source.toolkit.fluxcd.io/v1/namespaces/${FLUX}/gitrepositories`;
const HELM_RELEASE = `/apis/helm.toolkit.fluxcd.io/v2/namespaces/${FLUX}/helmreleases`;

/** Times of two syncs must differ by more than Argo CD's whole seconds and the tolerance for clocks. */
const APART_MS = 6000;

export interface ControllerTokens {
  argocd: string;
  source: string;
  kustomize: string;
  helm: string;
}

function wrote(answer: KubeAnswer): Body {
  if (answer.status >= 300) throw new Error(`${answer.status}: ${JSON.stringify(answer.json)}`);
  return answer.json as Body;
}

/** Does what the controllers of Argo CD and Flux do, by their service accounts, in their words and order. */
export class GitopsControllers {
  readonly #live: Live;
  readonly #tokens: ControllerTokens;
  readonly #repoURL: string;

  constructor(live: Live, tokens: ControllerTokens, repoURL: string) {
    this.#live = live;
    this.#tokens = tokens;
    this.#repoURL = repoURL;
  }

  /** Creates the Application, as a person does. */
  async createApplication(token: string): Promise<void> {
    const source = { repoURL: this.#repoURL, path: 'web', targetRevision: 'main' };
    const spec = {
      project: 'default',
      source,
      destination: { server: 'https://kubernetes.default.svc', namespace: 'shop' },
      syncPolicy: { automated: { selfHeal: true } },
    };
    const metadata = { name: 'web', namespace: 'argocd' };
    const body = { apiVersion: 'argoproj.io/v1alpha1', kind: 'Application', metadata, spec };
    wrote(await this.#live.kube(token, 'POST', APPLICATION, body));
  }

  /**
   * An automated sync: the record of the running operation, the apply, the record of its end
   * (argo-cd controller/appcontroller.go, sync.go).
   */
  async argocdSync(revision: string, manifest: Body): Promise<void> {
    await sleep(APART_MS);
    const { source } = (wrote(await this.#argocd('GET', `${APPLICATION}/web`)).spec ?? {}) as Body;
    const operation = {
      initiatedBy: { automated: true },
      sync: { revision, prune: true },
      retry: { limit: 5 },
    };
    const startedAt = wholeSeconds();
    const running = { operation, phase: 'Running', message: '', startedAt };
    await this.#record(running);
    const { name, namespace } = manifest.metadata as { name: string; namespace: string };
    await sleep(1000);
    const id = `web:apps/Deployment:${namespace}/${name}`;
    await this.#apply(
      this.#tokens.argocd,
      marked(manifest, { annotations: { 'argocd.argoproj.io/tracking-id': id } }),
      'argocd-controller',
      'argocd-application-controller/v3.1.0',
    );
    await sleep(1000);
    const resources = [
      {
        group: 'apps',
        version: 'v1',
        kind: 'Deployment',
        namespace,
        name,
        status: 'Synced',
        hookPhase: 'Running',
      },
    ];
    await this.#record({
      ...running,
      phase: 'Succeeded',
      message: 'successfully synced (all tasks run)',
      finishedAt: wholeSeconds(),
      syncResult: { revision, source, resources },
    });
  }

  async createFluxObjects(): Promise<void> {
    const objects: Array<[path: string, apiVersion: string, kind: string, name: string, spec: Body]> = [
      [
        GIT_REPOSITORY,
        'source.toolkit.fluxcd.io/v1',
        'GitRepository',
        'fleet',
        { interval: '1m', url: this.#repoURL, ref: { branch: 'main' } },
      ],
      [
        KUSTOMIZATION,
        'kustomize.toolkit.fluxcd.io/v1',
        'Kustomization',
        'api',
        { interval: '5m', prune: true, path: './api', sourceRef: { kind: 'GitRepository', name: 'fleet' } },
      ],
    ];
    for (const [path, apiVersion, kind, name, spec] of objects)
      wrote(
        await this.#live.kube('admin-token', 'POST', path, {
          apiVersion,
          kind,
          metadata: { name, namespace: FLUX },
          spec,
        }),
      );
  }

  /**
   * A reconciliation: the artifact, the attempt, a rehearsal and the apply of each object, the end
   * (kustomize-controller internal/controller/kustomization_controller.go).
   */
  async fluxReconcile(sha: string, manifests: Body[], ready = true): Promise<void> {
    await sleep(APART_MS);
    const revision = `main@sha1:${sha}`;
    await this.#status(this.#tokens.source, `${GIT_REPOSITORY}/fleet`, {
      artifact: { revision, path: `gitrepository/${FLUX}/fleet/${sha}.tar.gz` },
    });
    const attempt = { lastAttemptedRevision: revision };
    await this.#status(this.#tokens.kustomize, `${KUSTOMIZATION}/api`, {
      ...attempt,
      conditions: [{ type: 'Ready', status: 'Unknown', reason: 'Progressing', message: 'Reconciling' }],
    });
    await sleep(500);
    for (const manifest of manifests) {
      const own = marked(manifest, {
        labels: {
          'kustomize.toolkit.fluxcd.io/name': 'api',
          'kustomize.toolkit.fluxcd.io/namespace': FLUX,
        },
      });
      for (const query of ['&dryRun=All', ''])
        await this.#apply(
          this.#tokens.kustomize,
          own,
          'kustomize-controller',
          'kustomize-controller/v0.0.0',
          query,
        );
    }
    await this.#status(this.#tokens.kustomize, `${KUSTOMIZATION}/api`, {
      ...attempt,
      ...(ready && { lastAppliedRevision: revision }),
      conditions: [
        {
          type: 'Ready',
          status: ready ? 'True' : 'False',
          reason: ready ? 'ReconciliationSucceeded' : 'HealthCheckFailed',
          message: '',
        },
      ],
    });
  }

  /** What helm-controller makes of a HelmRelease: the release's object, and the history in its status. */
  async helmUpgrade(release: string, manifest: Body, chartVersion: string): Promise<void> {
    await sleep(1000);
    const labels = { 'helm.toolkit.fluxcd.io/name': release, 'helm.toolkit.fluxcd.io/namespace': FLUX };
    await this.#apply(this.#tokens.helm, marked(manifest, { labels }), 'helm', 'helm-controller/v0.0.0');
    await this.#status(this.#tokens.helm, `${HELM_RELEASE}/${release}`, {
      history: [
        {
          name: release,
          namespace: 'shop',
          version: 1,
          status: 'deployed',
          chartName: release,
          chartVersion,
          configDigest: `sha256:${'c'.repeat(64)}`,
          digest: `sha256:${'d'.repeat(64)}`,
        },
      ],
      conditions: [{ type: 'Ready', status: 'True', reason: 'UpgradeSucceeded', message: '' }],
    });
  }

  #argocd(method: string, path: string, body?: unknown, type?: string): Promise<KubeAnswer> {
    return this.#live.kube(
      this.#tokens.argocd,
      method,
      path,
      body,
      type,
      'argocd-application-controller/v3.1.0',
    );
  }

  async #record(operationState: Body): Promise<void> {
    const { status } = wrote(await this.#argocd('GET', `${APPLICATION}/web`)) as { status?: Body };
    const patch = status
      ? [{ op: 'add', path: '/status/operationState', value: operationState }]
      : [{ op: 'add', path: '/status', value: { operationState } }];
    wrote(await this.#argocd('PATCH', `${APPLICATION}/web`, patch, JSON_PATCH));
  }

  async #apply(token: string, manifest: Body, manager: string, agent: string, query = ''): Promise<void> {
    const { name } = manifest.metadata as { name: string };
    const path = manifest.kind === 'HelmRelease' ? HELM_RELEASE : DEPLOYMENTS;
    const url = `${path}/${name}?fieldManager=${manager}&force=true${query}`;
    wrote(await this.#live.kube(token, 'PATCH', url, manifest, APPLY, agent));
  }

  async #status(token: string, path: string, status: Body): Promise<void> {
    wrote(await this.#live.kube(token, 'PATCH', `${path}/status`, { status }, MERGE));
  }
}

function marked(manifest: Body, marks: { labels?: Body; annotations?: Body }): Body {
  const metadata = manifest.metadata as { labels?: Body };
  return {
    ...manifest,
    metadata: { ...metadata, ...marks, labels: { ...metadata.labels, ...marks.labels } },
  };
}

/** metav1.Time has no fractions. */
function wholeSeconds(): string {
  return `${new Date().toISOString().slice(0, 19)}Z`;
}
