import { type RecordedCluster, type Request, START } from '../jobs/recorded-cluster.js';
import type { ScenarioRepo } from './repositories.js';
import { microsOf, type Play } from './scenario.js';

const ARGOCD = 'system:serviceaccount:argocd:argocd-application-controller';
const ARGOCD_SERVER = 'system:serviceaccount:argocd:argocd-server';
const KUSTOMIZE = 'system:serviceaccount:flux-system:kustomize-controller';
const KCM = 'system:serviceaccount:kube-system:';
const TRACKING = { 'argocd.argoproj.io/tracking-id': 'web:apps/Deployment:shop/web' };
const FLUX_LABELS = {
  'kustomize.toolkit.fluxcd.io/name': 'web',
  'kustomize.toolkit.fluxcd.io/namespace': 'flux-system',
};

type Body = Record<string, unknown>;

/** Plays what happens in one cluster, as its apiserver would tell it; each request goes through the ledger. */
export class Stage {
  readonly #cluster: RecordedCluster;
  readonly #hub: RecordedCluster;
  readonly #repos: ReadonlyMap<string, ScenarioRepo>;
  #rv = 100;
  #pods = 0;
  #operation = 0;
  #last: Request[] = [];
  readonly #application: { spec: Body; status: Body; operation?: Body };
  readonly #kustomization: { spec: Body; status: Body } = {
    spec: { path: './web', sourceRef: { kind: 'GitRepository', name: 'shop' } },
    status: {},
  };
  readonly #deployment = {
    image: 'web:0',
    replicas: 2,
    labels: {} as Body,
    annotations: {} as Body,
    generation: 0,
  };

  /** @param hub where Argo CD's own objects are */
  constructor(
    cluster: RecordedCluster,
    repos: ReadonlyMap<string, ScenarioRepo>,
    hub: RecordedCluster = cluster,
  ) {
    this.#cluster = cluster;
    this.#hub = hub;
    this.#repos = repos;
    const sources = [...repos.values()].map((made) => ({
      repoURL: made.repo.url,
      path: 'web',
      targetRevision: 'main',
    }));
    this.#application = {
      spec: {
        ...(sources.length > 1 ? { sources } : { source: sources[0] }),
        destination: {
          server: hub === cluster ? 'https://kubernetes.default.svc' : 'https://10.0.0.5:6443',
          namespace: 'shop',
        },
        syncPolicy: { automated: { selfHeal: true } },
      },
      status: { history: [] },
    };
  }

  async play(play: Play): Promise<void> {
    const at = (microsOf(play.at) - START) / 1e6;
    if (play.again) {
      await this.#cluster.record(...this.#last);
      return;
    }
    const requests = this.#requestsOf(play, at);
    if (this.#hub !== this.#cluster) {
      const own = (request: Request) => request.resource.startsWith('argoproj.io/');
      await this.#hub.record(...requests.filter(own));
      await this.#cluster.record(...requests.filter((request) => !own(request)));
      return;
    }
    const auditIDs = await this.#cluster.record(...requests);
    this.#last = requests.map((request, i) => ({ ...request, auditID: auditIDs[i]! }));
  }

  #requestsOf(play: Play, at: number): Request[] {
    if (play.sync !== undefined) return this.#sync(play, at);
    if (play.flux !== undefined) return this.#flux(play, at);
    if (play.kustomization !== undefined) return [this.#kustomize(play, at)];
    if (play.edit !== undefined) {
      Object.assign(this.#deployment.annotations, play.annotations);
      return [
        this.#write({ ...this.#who(play), at, userAgent: `${play.edit}/v1.32.0 (linux/amd64)` }, play.image),
      ];
    }
    if (play.forge !== undefined) return [this.#forge(play, at)];
    if (play.override !== undefined) return [this.#override(play, at)];
    if (play.rollout !== undefined) return this.#rollout(play, at);
    if (play.request) return [{ at, ...(this.#filled(play.request) as object) } as Request];
    throw new Error(`nothing is played at ${play.at}`);
  }

  #filled(request: unknown): unknown {
    const text = JSON.stringify(request)
      .replace(/\{sha:(\w+)\}/g, (_, name: string) => this.#sha(name))
      .replace(/\{url:(\w+)\}/g, (_, name: string) => this.#repos.get(name)!.repo.url);
    return JSON.parse(text);
  }

  #who(play: Play): Pick<Request, 'by' | 'as' | 'groups' | 'extra' | 'truncated'> {
    return {
      by: play.by!,
      ...(play.as !== undefined && { as: play.as }),
      ...(play.groups && { groups: play.groups }),
      ...(play.extra && { extra: this.#filled(play.extra) as Record<string, string[]> }),
      ...(play.truncated && { truncated: true }),
    };
  }

  /** A patch of the Deployment, with the object as it is after it. */
  #write(request: Pick<Request, 'by' | 'at'> & Partial<Request>, image: string | undefined): Request {
    const deployment = this.#deployment;
    const created = deployment.generation === 0;
    if (image !== undefined) deployment.image = image;
    deployment.generation++;
    const body = {
      kind: 'Deployment',
      spec: {
        replicas: deployment.replicas,
        selector: { matchLabels: { app: 'web' } },
        strategy: { type: 'RollingUpdate' },
        template: {
          metadata: { labels: { app: 'web' } },
          spec: { containers: [{ name: 'web', image: deployment.image }] },
        },
      },
    };
    return {
      verb: 'patch',
      resource: 'apps/deployments',
      namespace: 'shop',
      name: 'web',
      uid: 'uid-web',
      rv: ++this.#rv,
      body,
      metadata: {
        generation: deployment.generation,
        labels: { app: 'web', ...deployment.labels },
        // An apiserver leaves empty maps out.
        ...(Object.keys(deployment.annotations).length > 0 && { annotations: { ...deployment.annotations } }),
      },
      ...(created && { code: 201 }),
      ...request,
    };
  }

  #writeApplication(by: string, at: number): Request {
    const { spec, status, operation } = this.#application;
    return {
      at,
      by,
      verb: by === ARGOCD ? 'patch' : 'update',
      resource: 'argoproj.io/applications',
      namespace: 'argocd',
      name: 'web',
      uid: 'uid-app',
      rv: ++this.#rv,
      body: structuredClone({ kind: 'Application', spec, status, ...(operation && { operation }) }),
      metadata: { generation: 1 },
    };
  }

  #sha(name: string): string {
    for (const { shas } of this.#repos.values()) {
      const sha = shas.get(name);
      if (sha !== undefined) return sha;
    }
    throw new Error(`no commit is called ${name}`);
  }

  /** A sync: asked for, taken up, written, ended. What is asked through the API is told by argocd-server. */
  #sync(play: Play, at: number): Request[] {
    const application = this.#application;
    const names = [play.revision!].flat();
    const revisions = names.map((name) => this.#sha(name));
    const one = revisions.length === 1;
    const initiatedBy = play.askedBy === undefined ? { automated: true } : { username: play.askedBy };
    const operation = {
      initiatedBy,
      sync: {
        ...(one ? { revision: revisions[0] } : { revisions }),
        ...(play.manifests !== undefined && {
          manifests: Array.from({ length: play.manifests }, () => 'kind: Deployment'),
        }),
      },
    };
    const requests: Request[] = [];
    if (play.askedBy !== undefined) {
      application.operation = operation;
      requests.push(this.#writeApplication(ARGOCD_SERVER, at));
    }
    delete application.operation;
    const seconds = (offset: number) =>
      `${new Date(microsOf(play.at) / 1000 + offset * 1000).toISOString().slice(0, 19)}Z`;
    const state: Body = { operation, phase: 'Running', startedAt: seconds(1) };
    application.status.operationState = state;
    if (!play.unrecorded) requests.push(this.#writeApplication(ARGOCD, at + 1));
    this.#deployment.annotations = { ...TRACKING };
    requests.push(
      this.#write(
        {
          by: ARGOCD,
          at: at + 2,
          ...(play.as !== undefined && { as: play.as }),
          ...(play.truncated && { truncated: true }),
        },
        play.image,
      ),
    );
    application.status.operationState = {
      ...state,
      phase: 'Succeeded',
      finishedAt: seconds(4),
      syncResult: {
        ...(one ? { revision: revisions[0] } : { revision: '', revisions }),
        ...(one ? { source: application.spec.source } : { sources: application.spec.sources }),
        resources: [
          {
            group: 'apps',
            version: 'v1',
            kind: 'Deployment',
            namespace: 'shop',
            name: 'web',
            status: 'Synced',
          },
        ],
      },
    };
    (application.status.history as Body[]).push({
      id: this.#operation++,
      ...(one ? { revision: revisions[0] } : { revisions }),
      deployedAt: seconds(4),
    });
    if (!play.unrecorded) requests.push(this.#writeApplication(ARGOCD, at + 4));
    return requests;
  }

  #forge(play: Play, at: number): Request {
    const [name] = [play.revision!].flat() as [string];
    const stamp = (offset: number) =>
      `${new Date(microsOf(play.at) / 1000 + offset * 1000).toISOString().slice(0, 19)}Z`;
    this.#application.status.operationState = {
      operation: { initiatedBy: { automated: true }, sync: { revision: this.#sha(name) } },
      phase: 'Succeeded',
      startedAt: stamp(1),
      finishedAt: stamp(60),
      syncResult: {
        revision: this.#sha(name),
        source: this.#application.spec.source,
        resources: [
          {
            group: 'apps',
            version: 'v1',
            kind: 'Deployment',
            namespace: 'shop',
            name: 'web',
            status: 'Synced',
          },
        ],
      },
    };
    return { ...this.#writeApplication(play.by!, at), verb: 'patch' };
  }

  #override(play: Play, at: number): Request {
    this.#application.spec.source = {
      ...(this.#application.spec.source as Body),
      kustomize: { images: [play.overrides] },
    };
    return this.#writeApplication(play.by!, at);
  }

  /** An attempt: the revision is noted first, then applied; a failed health check leaves lastAppliedRevision old. */
  #flux(play: Play, at: number): Request[] {
    const made = `main@sha1:${this.#sha([play.revision!].flat()[0]!)}`;
    const revision = play.artifact ?? made;
    const source = [...this.#repos.values()][0]!;
    const { spec, status } = this.#kustomization;
    if (play.artifact !== undefined) spec.sourceRef = { kind: 'OCIRepository', name: 'shop' };
    const requests: Request[] = [
      {
        at: at - 1,
        by: 'system:serviceaccount:flux-system:source-controller',
        verb: 'patch',
        resource: `source.toolkit.fluxcd.io/${play.artifact === undefined ? 'git' : 'oci'}repositories`,
        namespace: 'flux-system',
        name: 'shop',
        uid: 'uid-source',
        rv: ++this.#rv,
        body:
          play.artifact === undefined
            ? {
                kind: 'GitRepository',
                spec: { url: source.repo.url, ref: { branch: 'main' } },
                status: { artifact: { revision } },
              }
            : {
                kind: 'OCIRepository',
                spec: { url: 'oci://registry.example.com/shop' },
                status: {
                  artifact: {
                    revision,
                    metadata: { 'org.opencontainers.image.source': source.repo.url },
                  },
                },
              },
      },
    ];
    const note = (seconds: number, ready: string, applied: boolean) => {
      status.lastAttemptedRevision = revision;
      if (applied) status.lastAppliedRevision = revision;
      if (applied && play.artifact !== undefined) status.lastAppliedOriginRevision = made;
      status.conditions = [{ type: 'Ready', status: ready }];
      requests.push({
        at: at + seconds,
        by: KUSTOMIZE,
        verb: 'patch',
        subresource: 'status',
        resource: 'kustomize.toolkit.fluxcd.io/kustomizations',
        namespace: 'flux-system',
        name: 'web',
        uid: 'uid-ks',
        rv: ++this.#rv,
        body: structuredClone({
          kind: 'Kustomization',
          spec,
          status,
        }),
      });
    };
    note(0, 'Unknown', false);
    this.#deployment.labels = { ...FLUX_LABELS };
    requests.push(this.#write({ by: KUSTOMIZE, at: at + 2 }, play.image));
    note(30, play.health === 'fails' ? 'False' : 'True', play.health !== 'fails');
    return requests;
  }

  #kustomize(play: Play, at: number): Request {
    const { spec, status } = this.#kustomization;
    const created = play.spec !== undefined && Object.keys(status).length === 0;
    Object.assign(spec, play.spec);
    return {
      ...this.#who(play),
      ...(created && { code: 201 }),
      at,
      verb: 'patch',
      resource: 'kustomize.toolkit.fluxcd.io/kustomizations',
      namespace: 'flux-system',
      name: 'web',
      uid: 'uid-ks',
      rv: ++this.#rv,
      body: structuredClone({ kind: 'Kustomization', spec, status }),
    };
  }

  /** What kube-controller-manager makes of a new template: a ReplicaSet, and a Pod. */
  #rollout(play: Play, at: number): Request[] {
    const set = `web-${this.#deployment.image.replace(':', '')}`;
    const pod = `${set}-${++this.#pods}`;
    const requests: Request[] = [];
    if (play.rollout !== 'pod')
      requests.push({
        at,
        by: `${KCM}deployment-controller`,
        verb: 'create',
        resource: 'apps/replicasets',
        namespace: 'shop',
        name: set,
        uid: `uid-${set}`,
        rv: ++this.#rv,
        owner: { kind: 'Deployment', name: 'web', uid: 'uid-web' },
        body: { kind: 'ReplicaSet', spec: { replicas: 2 } },
      });
    requests.push({
      at: at + 1,
      by: `${KCM}replicaset-controller`,
      verb: 'create',
      resource: 'pods',
      namespace: 'shop',
      name: pod,
      uid: `uid-${pod}`,
      rv: ++this.#rv,
      owner: { kind: 'ReplicaSet', name: set, uid: `uid-${set}` },
      body: { kind: 'Pod', spec: {} },
    });
    return requests;
  }
}
