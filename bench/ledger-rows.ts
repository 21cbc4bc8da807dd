import { createHash, randomBytes } from 'node:crypto';
import type { ClientBase } from 'pg';
import { canonicalJson, sha256 } from '../core/canonical.js';
import { objectID } from '../core/identity.js';
import type { PlainBody } from '../store/body-packs.js';
import { storeBodies } from '../store/body-rows.js';
import { CopyRows, copyRows } from '../store/copy.js';

const CHANGES = [
  ...[
    'cluster_id',
    'at',
    'change_id',
    'seq',
    'completed_at',
    'source_id',
    'event_digest',
    'audit_id',
    'class',
    'kind',
  ],
  ...[
    'outcome',
    'verb',
    'object_id',
    'api_group',
    'resource',
    'subresource',
    'namespace',
    'name',
    'user_id',
    'tool',
  ],
  ...[
    'request_uri',
    'code',
    'level',
    'resource_version',
    'order_rv',
    'before_digest',
    'before_certainty',
    'after_digest',
  ],
  ...['after_certainty', 'diff', 'field_terms', 'labels', 'summary'],
] as const;
const ATTRIBUTIONS = [
  ...[
    'cluster_id',
    'change_id',
    'at',
    'state',
    'rule',
    'trigger_change_id',
    'trigger_at',
    'content_change_id',
    'content_at',
  ],
  'evidence',
] as const;

export interface Key {
  apiGroup: string;
  resource: string;
  namespace: string;
  name: string;
}

/** Rows of one cluster's changes, with all that they refer to, gathered and then sent through COPY. */
export class LedgerRows {
  readonly #client: ClientBase;
  readonly #clusterID: number;
  /** Of the change that was written last. */
  seq = 0;
  #changes = new CopyRows();
  #attributions = new CopyRows();
  #bodies: PlainBody[] = [];
  #objects = new CopyRows();
  #users = new CopyRows();
  readonly #known = new Set<string>();
  readonly #applications = new Map<string, Buffer>();

  constructor(client: ClientBase, clusterID: number) {
    this.#client = client;
    this.#clusterID = clusterID;
  }

  /** Sends what was added. */
  async send(): Promise<void> {
    await this.#client.query('begin');
    await copyRows(this.#client, 'users', ['cluster_id', 'id', 'username', 'groups', 'extra'], this.#users);
    await copyRows(
      this.#client,
      'objects',
      ['cluster_id', 'id', 'api_group', 'resource', 'namespace', 'name'],
      this.#objects,
    );
    await storeBodies(this.#client, this.#clusterID, this.#bodies);
    await copyRows(this.#client, 'changes', CHANGES, this.#changes);
    await copyRows(this.#client, 'attributions', ATTRIBUTIONS, this.#attributions);
    // Links follow what attribution has seen.
    await this.#client.query(
      `insert into job_cursors (job, cluster_id, seq) values ('attribute', $1, $2)
       on conflict (job, cluster_id) do update set seq = excluded.seq`,
      [this.#clusterID, this.seq],
    );
    await this.#client.query('commit');
    this.#changes = new CopyRows();
    this.#attributions = new CopyRows();
    this.#bodies = [];
    this.#objects = new CopyRows();
    this.#users = new CopyRows();
  }

  /** A change that wrote this body, undefined: one that was not recorded. Returns its id. */
  write(at: number, key: Key, user: bigint, body: object | undefined, kind = 'change'): string {
    const rows = this.#changes;
    const id = objectID(key);
    const before = key.resource === 'applications' ? this.#applications.get(id) : undefined;
    const after = body && this.#body(body);
    if (after && key.resource === 'applications') this.#applications.set(id, after);
    if (this.#isNew(`object ${id}`)) {
      this.#objects.row(6);
      this.#objects.int4(this.#clusterID);
      this.#objects.uuid(id);
      for (const part of [key.apiGroup, key.resource, key.namespace, key.name]) this.#objects.text(part);
    }
    const changeID = idAt(at);
    const seq = ++this.seq;
    const labels = key.resource === 'deployments' ? ['app=web'] : undefined;
    rows.row(CHANGES.length);
    rows.int4(this.#clusterID);
    rows.time(at);
    rows.uuid(changeID);
    rows.int8(seq);
    rows.time(at + 5000);
    rows.int4(1);
    rows.bytes(randomBytes(32));
    rows.text(changeID);
    rows.text(kind);
    rows.text('update');
    rows.text('succeeded');
    rows.text('patch');
    rows.uuid(id);
    rows.text(key.apiGroup);
    rows.text(key.resource);
    rows.text(undefined);
    rows.text(key.namespace);
    rows.text(key.name);
    rows.int8(user);
    rows.text('bench');
    rows.text(`/apis/${key.apiGroup}/${key.namespace}/${key.resource}/${key.name}`);
    rows.int2(200);
    rows.text('RequestResponse');
    rows.text(String(seq));
    rows.int8(seq);
    rows.bytes(before);
    rows.text(before && 'exact');
    rows.bytes(after);
    rows.text(after ? 'exact' : 'unknown');
    rows.jsonb(after && [{ path: 'spec', op: 'replace' }]);
    rows.textArray(after && ['spec']);
    rows.textArray(labels);
    rows.text('changed');
    return changeID;
  }

  /** What set a change off. */
  attribute(changeID: string, at: number, root: { at: number; changeID: string }): void {
    const rows = this.#attributions;
    rows.row(ATTRIBUTIONS.length);
    rows.int4(this.#clusterID);
    rows.uuid(changeID);
    rows.time(at);
    rows.text('resolved');
    rows.text('owner_chain');
    rows.uuid(root.changeID);
    rows.time(root.at);
    rows.uuid(root.changeID);
    rows.time(root.at);
    rows.jsonb({ path: ['pods', 'replicasets', 'deployments'] });
  }

  #body(body: object): Buffer {
    const json = Buffer.from(canonicalJson(body as never));
    const digest = sha256(json);
    if (this.#isNew(`body ${digest.toString('latin1')}`)) this.#bodies.push({ digest, json });
    return digest;
  }

  /** The id of a user's entry. */
  user(username: string, extra?: Record<string, string[]>): bigint {
    const text = JSON.stringify([username, extra]);
    const id = createHash('sha256').update(text).digest().readBigInt64BE();
    if (this.#isNew(`user ${text}`)) {
      this.#users.row(5);
      this.#users.int4(this.#clusterID);
      this.#users.int8(id);
      this.#users.text(username);
      this.#users.textArray(['system:authenticated']);
      this.#users.jsonb(extra);
    }
    return id;
  }

  #isNew(key: string): boolean {
    if (this.#known.has(key)) return false;
    this.#known.add(key);
    return true;
  }
}

/** A UUIDv8 with the time in its head, as ids of changes are. */
function idAt(at: number): string {
  const hex = Math.floor(at / 1000)
    .toString(16)
    .padStart(12, '0');
  const random = randomBytes(10).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-8${random.slice(0, 3)}-8${random.slice(3, 6)}-${random.slice(6, 18)}`;
}
