import { randomUUID } from 'node:crypto';
import { formatMicros } from '../../core/timestamp.js';

type Loose = Record<string, unknown>;

const START = Date.UTC(2026, 2, 2, 9, 0, 0) * 1000;

/** A made-up apiserver: it numbers versions and writes audit events as the real one does, in the shape it posts them. */
export class Cluster {
  #now = START;
  #revision = 1000;
  readonly #objects = new Map<string, Loose>();

  /** Lets time pass, in seconds. */
  wait(seconds: number): void {
    this.#now += seconds * 1e6;
  }

  get now(): string {
    return formatMicros(this.#now);
  }

  event(parts: Loose): Loose {
    this.#now += 1_000_137;
    return {
      kind: 'Event',
      apiVersion: 'audit.k8s.io/v1',
      level: 'RequestResponse',
      auditID: randomUUID(),
      stage: 'ResponseComplete',
      user: { username: 'alice@example.com', groups: ['developers', 'system:authenticated'] },
      sourceIPs: ['10.1.2.3'],
      userAgent: 'kubectl/v1.32.1 (linux/amd64) kubernetes/abcdef0',
      responseStatus: { metadata: {}, code: 200 },
      requestReceivedTimestamp: formatMicros(this.#now),
      stageTimestamp: formatMicros(this.#now + 5000),
      annotations: { 'authorization.k8s.io/decision': 'allow', 'authorization.k8s.io/reason': '' },
      ...parts,
    };
  }

  /** A write of a namespaced object; `object` is its state after. */
  write(
    verb: 'create' | 'update' | 'patch' | 'delete',
    ref: { group?: string; resource: string; namespace: string; name: string },
    object: Loose,
    parts: Loose = {},
  ): Loose {
    const { group = '', resource, namespace, name } = ref;
    const id = `${group}/${resource}/${namespace}/${name}`;
    const before = this.#objects.get(id);
    const meta = {
      name,
      namespace,
      uid: ((before?.metadata as Loose)?.uid as string) ?? randomUUID(),
      resourceVersion: String(++this.#revision),
    };
    const after = {
      apiVersion: group ? `${group}/v1` : 'v1',
      ...object,
      metadata: { ...(object.metadata as Loose), ...meta },
    };
    if (verb === 'delete') this.#objects.delete(id);
    else this.#objects.set(id, after);
    const base = group ? `/apis/${group}/v1` : '/api/v1';
    return this.event({
      verb,
      requestURI: `${base}/namespaces/${namespace}/${resource}${verb === 'create' ? '' : `/${name}`}`,
      objectRef: { resource, namespace, name, apiVersion: 'v1', ...(group && { apiGroup: group }) },
      requestObject:
        verb === 'delete'
          ? undefined
          : {
              ...after,
              metadata: { ...after.metadata, resourceVersion: (before?.metadata as Loose)?.resourceVersion },
            },
      responseObject:
        verb === 'delete'
          ? {
              kind: 'Status',
              apiVersion: 'v1',
              metadata: {},
              status: 'Success',
              details: { name, uid: meta.uid },
            }
          : after,
      responseStatus: { metadata: {}, code: verb === 'create' ? 201 : 200 },
      ...parts,
    });
  }

  deployment(
    verb: 'create' | 'update' | 'patch' | 'delete',
    name: string,
    spec: { image: string; replicas?: number },
    parts: Loose = {},
  ): Loose {
    const object = {
      kind: 'Deployment',
      metadata: { labels: { app: name } },
      spec: {
        replicas: spec.replicas ?? 1,
        template: { spec: { containers: [{ name: 'web', image: spec.image }] } },
      },
    };
    return this.write(
      verb,
      { group: 'apps', resource: 'deployments', namespace: 'shop', name },
      object,
      parts,
    );
  }
}

export function eventList(items: unknown[]): string {
  return JSON.stringify({ kind: 'EventList', apiVersion: 'audit.k8s.io/v1', metadata: {}, items });
}
