import type { ClientBase } from 'pg';
import type { JsonObject } from '../../core/audit-event.js';
import type { ApplicationRecord, LinkEvidence, OverrideSetter } from '../../core/links/evidence.js';
import type { Subject } from '../../core/links/link.js';
import { type Tracking, trackingsOf } from '../../core/links/tracking.js';
import type { Policy } from '../../core/verdict/policy.js';
import { actorOf } from '../../core/verdict/policy-match.js';
import { findAttributions } from '../attribution.js';
import type { BodyCache } from '../body-cache.js';
import { findOverrideSetters, type SetterQuestion, setterKey } from './application-actions.js';
import { findReleases } from './helm-releases.js';
import { findRenderedMatches, type Rendering } from './rendered-matches.js';
import { findSessionRuns, type SessionRun } from './session-runs.js';
import type { SubjectRow } from './subjects.js';
import { applicationKey, findSyncsAround, type SyncRow, syncOf } from './syncs.js';

/** Questions about one application that lie within this, in microseconds, are asked once. */
const BUCKET = 1e6;

export interface LinkCase {
  row: SubjectRow;
  subject: Subject;
  object: JsonObject | undefined;
  request: JsonObject | undefined;
  evidence: LinkEvidence;
  /** The application that the object belongs to, by its marks (applicationKey). */
  application: string | undefined;
  /** The run that the pipeline's session names. */
  sessionRun: SessionRun | undefined;
}

/** Gathers what links are found by, with a fixed number of statements however many changes there are. */
export async function gatherLinkCases(
  client: ClientBase,
  clusterID: number,
  subjects: ReadonlyMap<
    SubjectRow,
    { subject: Subject; object: JsonObject | undefined; request: JsonObject | undefined }
  >,
  policy: Policy,
  bodyCache: BodyCache,
  rendering: Rendering,
): Promise<LinkCase[]> {
  const traced = [...subjects].map(([row, read]) => ({ row, ...read, trackings: trackingsOf(read.subject) }));
  const attributions = await findAttributions(
    client,
    clusterID,
    traced
      .filter(({ row }) => row.class === 'derived' || row.kind === 'finalizer_removal')
      .map(({ row }) => row.change_id),
  );
  const releases = await findReleases(client, clusterID, traced, policy, bodyCache);
  const questions = new Map<
    string,
    { engine: 'argocd' | 'flux'; namespace: string | undefined; name: string; at: number }
  >();
  const ask = (engine: 'argocd' | 'flux', namespace: string | undefined, name: string, at: number) => {
    const question = { engine, namespace, name, at: Math.ceil(at / BUCKET) * BUCKET };
    questions.set(`${applicationKey(question)} ${question.at}`, question);
  };
  for (const { subject, trackings, row } of traced) {
    // Only the controllers' own writes are looked up; what people write has no sync.
    if (actorOf(policy, subject.user) === undefined) continue;
    for (const { engine, namespace, name } of trackings)
      if (engine !== 'helm') ask(engine, namespace, name, subject.at);
    const release = releases.get(row.change_id);
    if (release?.parent) ask('flux', release.parent.namespace, release.parent.name, release.record.changedAt);
  }
  const syncs = groupSyncs(await findSyncsAround(client, clusterID, [...questions.values()]));
  const setters = await findOverrideSetters(
    client,
    traced.flatMap(({ row, subject, trackings }) => {
      const parent = releases.get(row.change_id);
      return [
        ...trackings.flatMap((tracking) => settersAsked(rowsOf(syncs, tracking, clusterID), subject.at)),
        ...(parent?.parent
          ? settersAsked(rowsOf(syncs, kustomization(parent.parent), clusterID), parent.record.changedAt)
          : []),
      ];
    }),
  );
  const runs = await findSessionRuns(client, traced, policy);
  const rendered = await findRenderedMatches(client, traced, policy, rendering);
  return traced.map(({ row, subject, object, request, trackings }): LinkCase => {
    const argocd = trackings.find(({ engine }) => engine === 'argocd');
    const flux = trackings.find(({ engine }) => engine === 'flux');
    const release = releases.get(row.change_id);
    if (release?.parent) {
      const { record } = release;
      const attempts = rowsOf(syncs, kustomization(release.parent), clusterID);
      record.parent = attempts.map(syncOf);
      record.parentOverridesBy = setterOf(setters, attempts[0], record.changedAt);
    }
    const attempts = flux ? rowsOf(syncs, flux, clusterID) : [];
    return {
      row,
      subject,
      object,
      request,
      application: trackings[0] && applicationKey(trackings[0]),
      evidence: {
        policy,
        attribution: attributions.get(row.change_id),
        argocd: argocd ? applicationRecords(rowsOf(syncs, argocd, clusterID), subject.at, setters) : [],
        flux: attempts.map(syncOf),
        fluxOverridesBy: setterOf(setters, attempts[0], subject.at),
        helmRelease: release?.record,
        ciRun: runs.get(row.change_id)?.told,
        rendered: rendered.get(row.change_id) ?? [],
      },
      sessionRun: runs.get(row.change_id),
    };
  });
}

function groupSyncs(rows: readonly SyncRow[]): Map<string, SyncRow[]> {
  const grouped = new Map<string, SyncRow[]>();
  for (const row of rows) {
    const key = `${row.engine} ${row.name}`;
    const own = grouped.get(key) ?? [];
    if (own.every((other) => other.sync_id !== row.sync_id)) own.push(row);
    grouped.set(key, own);
  }
  return grouped;
}

const kustomization = (name: { namespace: string; name: string }) => ({ engine: 'flux' as const, ...name });

/**
 * The records of the syncs of an application: of those in the change's own cluster, and where it has no Application of
 * that name, of a hub's.
 */
function rowsOf(
  syncs: ReadonlyMap<string, SyncRow[]>,
  { engine, namespace, name }: Pick<Tracking, 'engine' | 'namespace' | 'name'>,
  clusterID: number,
): SyncRow[] {
  const named = (syncs.get(`${engine} ${name}`) ?? []).filter(
    (row) => namespace === undefined || row.namespace === namespace,
  );
  const own = named.filter((row) => row.cluster_id === clusterID);
  return engine === 'argocd' && own.length === 0 ? named : own;
}

/** Of whom it matters who set overrides. A Kustomization's record may be older than what was set since. */
function settersAsked(rows: readonly SyncRow[], at: number): SetterQuestion[] {
  return rows
    .filter((row) => row.engine === 'flux' || row.non_git?.some(({ kind }) => kind === 'overrides'))
    .map((row) => ({ clusterID: row.cluster_id, objectID: row.object_id, at }));
}

function setterOf(
  setters: ReadonlyMap<string, OverrideSetter>,
  row: SyncRow | undefined,
  at: number,
): OverrideSetter | undefined {
  return row && setters.get(setterKey({ clusterID: row.cluster_id, objectID: row.object_id, at }));
}

/** The Applications that the records are of. */
function applicationRecords(
  rows: readonly SyncRow[],
  at: number,
  setters: ReadonlyMap<string, OverrideSetter>,
): ApplicationRecord[] {
  const records = new Map<string, ApplicationRecord>();
  for (const row of rows) {
    const id = `${row.cluster_id} ${row.object_id}`;
    const sync = syncOf(row);
    const record = records.get(id) ?? {
      cluster: row.cluster,
      key: sync.application.key,
      syncs: [],
      overridesBy: setterOf(setters, row, at),
    };
    record.syncs.push(sync);
    records.set(id, record);
  }
  return [...records.values()];
}
