import { randomUUID } from 'node:crypto';
import { acceptValue } from '../../core/accept.js';
import { createKeyedDigest } from '../../core/redact/keyed-digest.js';
import { compileRedactionRules, DEFAULT_REDACTION_RULES } from '../../core/redact/rules.js';
import { formatMicros } from '../../core/timestamp.js';
import { Ledger } from '../../store/append.js';
import type { Batch } from '../../store/new-events.js';
import { createSource } from '../../store/sources.js';
import type { TestDatabase } from '../harness/database.js';

export const redaction = {
  rules: compileRedactionRules(DEFAULT_REDACTION_RULES),
  digest: createKeyedDigest(Buffer.from('a key for tests, of 32 bytes....')),
};

/** 2026-03-01T10:00:00Z, in microseconds. */
export const START = Date.UTC(2026, 2, 1, 10) * 1000;

/** What a request did, in short. `at` is seconds from START. */
export interface Request {
  at: number;
  by: string;
  verb: string;
  /** `group/resource`; the group is left out for core. */
  resource: string;
  namespace?: string;
  name?: string;
  subresource?: string;
  uid?: string;
  rv?: number;
  owner?: { kind: string; name: string; uid: string };
  /** More of the object's body; `metadata` is merged. */
  body?: Record<string, unknown>;
  metadata?: Record<string, unknown>;
  /** Instead of the object. */
  response?: unknown;
  request?: unknown;
  code?: number;
  stage?: 'RequestReceived' | 'ResponseStarted' | 'ResponseComplete';
  auditID?: string;
  query?: string;
  groups?: string[];
  extra?: Record<string, string[]>;
  /** Whom `by` impersonates. */
  as?: string;
  /** The apiserver removed the bodies for size. */
  truncated?: boolean;
  userAgent?: string;
}

export const CONTROLLER = 'system:serviceaccount:kube-system:';

/** A cluster with one apiserver, whose audit events go the whole way into the ledger. */
export class RecordedCluster {
  readonly clusterID: number;
  readonly sourceID: number;
  readonly ledger: Ledger;

  private constructor(ledger: Ledger, clusterID: number, sourceID: number) {
    this.ledger = ledger;
    this.clusterID = clusterID;
    this.sourceID = sourceID;
  }

  static async create(database: Pick<TestDatabase, 'pool'>, name = 'test'): Promise<RecordedCluster> {
    const client = await database.pool.connect();
    try {
      await createSource(client, {
        name: `${name}-apiserver`,
        cluster: name,
        secretSha256: Buffer.alloc(32, name),
      });
      const { rows } = await client.query<{ id: number; cluster_id: number }>(
        'select id, cluster_id from sources where name = $1',
        [`${name}-apiserver`],
      );
      return new RecordedCluster(
        new Ledger(database.pool, { bodyCacheBytes: 1 << 20 }),
        rows[0]!.cluster_id,
        rows[0]!.id,
      );
    } finally {
      client.release();
    }
  }

  /** Appends the events of these requests as one batch, as a webhook's post. Gives each request's auditID. */
  async record(...requests: Request[]): Promise<string[]> {
    const events = requests.map(eventOf);
    const batch: Batch = {
      sourceID: this.sourceID,
      clusterID: this.clusterID,
      receivedAt: Date.now() * 1000,
      accepted: events.map((event) => {
        const acceptance = acceptValue(event, 1000, undefined, redaction);
        if (!acceptance.ok) throw new Error(acceptance.rejection.detail);
        return acceptance.accepted;
      }),
      rejections: [],
    };
    await this.ledger.append([batch]);
    return events.map((event) => event.auditID);
  }
}

function eventOf(request: Request) {
  const [group, resource] = request.resource.includes('/')
    ? (request.resource.split('/') as [string, string])
    : ['', request.resource];
  const { namespace, name, subresource, verb } = request;
  const at = START + Math.round(request.at * 1e6);
  const stage = request.stage ?? 'ResponseComplete';
  const object = {
    apiVersion: group === '' ? 'v1' : `${group}/v1`,
    kind: 'Object',
    ...request.body,
    metadata: {
      ...(name !== undefined && { name }),
      ...(namespace !== undefined && { namespace }),
      ...(request.uid && { uid: request.uid }),
      ...(request.rv && { resourceVersion: String(request.rv) }),
      ...(request.owner && {
        ownerReferences: [{ apiVersion: 'v1', controller: true, blockOwnerDeletion: true, ...request.owner }],
      }),
      ...request.metadata,
    },
  };
  const path = [
    group === '' ? '/api/v1' : `/apis/${group}/v1`,
    namespace && `namespaces/${namespace}`,
    resource,
    name,
    subresource,
  ];
  return {
    kind: 'Event',
    apiVersion: 'audit.k8s.io/v1',
    level: 'RequestResponse',
    auditID: request.auditID ?? randomUUID(),
    stage,
    requestURI: path.filter(Boolean).join('/') + (request.query ? `?${request.query}` : ''),
    verb,
    user: {
      username: request.by,
      groups: [...(request.groups ?? []), 'system:authenticated'],
      ...(request.extra && { extra: request.extra }),
    },
    ...(request.as && { impersonatedUser: { username: request.as, groups: ['system:authenticated'] } }),
    sourceIPs: ['10.0.0.1'],
    userAgent: request.userAgent ?? 'kubectl/v1.32.0 (linux/amd64) kubernetes/abc',
    ...(request.truncated && { annotations: { 'audit.k8s.io/truncated': 'true' } }),
    objectRef: {
      resource,
      ...(group !== '' && { apiGroup: group }),
      apiVersion: 'v1',
      ...(namespace !== undefined && { namespace }),
      ...(name !== undefined && { name }),
      ...(subresource && { subresource }),
    },
    ...(stage !== 'ResponseComplete' &&
      request.code !== undefined && { responseStatus: { code: request.code } }),
    ...(stage === 'ResponseComplete' && {
      responseStatus: { code: request.code ?? (verb === 'create' ? 201 : 200) },
      ...(request.request !== undefined && { requestObject: request.request }),
      ...(!request.truncated && { responseObject: request.response ?? object }),
    }),
    requestReceivedTimestamp: formatMicros(at),
    stageTimestamp: formatMicros(at + (stage === 'RequestReceived' ? 0 : 5000)),
  };
}

/** The answer to most deletes. */
export function statusOf(kind: string, name: string, uid: string) {
  return { kind: 'Status', apiVersion: 'v1', status: 'Success', details: { name, kind, uid } };
}
