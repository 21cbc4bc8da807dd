import type { JsonObject } from '../audit-event.js';
import { sha256 } from '../canonical.js';
import type { ObjectKey } from '../identity.js';
import type { LinkedSource, NonGitInput } from './link.js';

/** An object as a sync's result lists it. */
export interface SyncedObject {
  group: string;
  kind: string;
  namespace: string;
  name: string;
}

/**
 * One time that a GitOps controller brought revisions of its sources to a cluster, as its own object tells: an Argo CD
 * Application's operationState, a Flux Kustomization's status. Times are microseconds; Argo CD's are of whole seconds.
 */
export interface Sync {
  id: string;
  engine: 'argocd' | 'flux';
  application: { objectID: string; key: ObjectKey };
  /** Whether it deploys to another cluster than its own; undefined: not told. */
  remote?: boolean;
  startedAt: number;
  /** Undefined: it went on when it was last told of. */
  finishedAt: number | undefined;
  phase: 'running' | 'succeeded' | 'failed';
  sources: LinkedSource[];
  /** What it touched; undefined: not told. */
  objects: SyncedObject[] | undefined;
  initiator: { username?: string; automated: boolean } | undefined;
  nonGit: NonGitInput[];
  dryRun: boolean;
  /** SHA-256 of the operation as recorded. */
  operationDigest: string;
  /** Everyone who wrote this record: one who isn't the controller makes it worthless. */
  recorders: string[];
  /** The last change that told of it. */
  changeID: string;
}

/** A write of a controller's object, with the object on both sides of it. */
export interface RecordWrite {
  changeID: string;
  at: number;
  objectID: string;
  key: ObjectKey;
  /** The authenticated user. */
  username: string;
  before: JsonObject | undefined;
  after: JsonObject | undefined;
  /** Whether the write created the object. */
  created: boolean;
}

/** A sync is known by its application and when it began. */
export function syncID(objectID: string, startedAt: number): string {
  return sha256(`${objectID}\n${startedAt}`).toString('hex').slice(0, 32);
}

/** What a sync deployed, to tell it from another: its sources at their revisions. */
export function revisionKey(sources: readonly LinkedSource[]): string {
  return sources
    .map(
      (source) =>
        `${source.repository} ${source.path ?? ''} ${source.chart ?? ''} ${source.sha ?? source.revision}`,
    )
    .join('\n');
}

/** A sync among those of its application. */
export interface SyncPlace {
  /** The first sync that brought these revisions, this one included. */
  first: Sync;
  /** The last sync before the first one that ended well with others; undefined: none is recorded. */
  previous: Sync | undefined;
  /** `new`: these revisions come for the first time; `reapply`: they were there already; `rollback`: they come back. */
  kind: 'new' | 'reapply' | 'rollback';
}

/**
 * Where a sync stands in its application's history. `history` holds earlier syncs of the application, in any order;
 * dry runs and records that others than the controller wrote must be left out by the caller.
 */
export function placeOf(sync: Sync, history: readonly Sync[]): SyncPlace {
  const key = revisionKey(sync.sources);
  const earlier = history
    .filter((other) => other.id !== sync.id && other.startedAt < sync.startedAt && !other.dryRun)
    .sort((a, b) => a.startedAt - b.startedAt);
  const first = earlier.find((other) => revisionKey(other.sources) === key) ?? sync;
  const done = earlier.filter((other) => other.phase === 'succeeded');
  const previous = done
    .filter((other) => other.startedAt < first.startedAt && revisionKey(other.sources) !== key)
    .at(-1);
  const last = done.at(-1);
  const kind = first === sync ? 'new' : last && revisionKey(last.sources) !== key ? 'rollback' : 'reapply';
  return { first, previous, kind };
}
