import { type Static, Type } from 'typebox';
import { type ApplicationState, ENGINES, settingsOf } from '../core/drift/application-drift.js';
import { DRIFT_KINDS, DRIFT_STATES, type DriftChange, type DriftFinding } from '../core/drift/drift.js';
import { STRENGTHS } from '../core/links/link.js';
import type { Sync } from '../core/links/sync.js';
import { formatMicros } from '../core/timestamp.js';
import type { ApplicationDrift } from '../store/drift.js';
import type { ApplicationRow } from '../store/queries/applications.js';
import { objectItem } from './change-item.js';
import { ObjectSchema, SourceSchema, words } from './change-schema.js';
import { EvidenceSchema } from './verdict-schema.js';

const SyncSchema = Type.Object({
  startedAt: Type.String(),
  finishedAt: Type.Optional(Type.String()),
  phase: words(['running', 'succeeded', 'failed']),
  sources: Type.Array(SourceSchema),
  initiator: Type.Optional(
    Type.Object({ username: Type.Optional(Type.String()), automated: Type.Boolean() }),
  ),
  changeID: Type.String({ description: 'the change that told of it last' }),
});

export const ApplicationSchema = Type.Object({
  cluster: Type.String(),
  engine: words(ENGINES),
  namespace: Type.String(),
  name: Type.String(),
  deleted: Type.Boolean(),
  autoSync: Type.Optional(Type.Boolean({ description: 'left out: not known' })),
  selfHeal: Type.Optional(Type.Boolean()),
  suspended: Type.Optional(Type.Boolean()),
  lastSync: Type.Optional(SyncSchema),
});
export type ApplicationItem = Static<typeof ApplicationSchema>;

const ChangeSchema = Type.Object({
  id: Type.String(),
  at: Type.String(),
  actor: Type.String(),
  impersonatedUser: Type.Optional(Type.String()),
  initiator: Type.Optional(Type.String({ description: 'the user of Argo CD, where something tells' })),
  verdict: Type.Optional(Type.String()),
});

const FindingSchema = Type.Object({
  kind: words(DRIFT_KINDS),
  strength: words(STRENGTHS),
  detail: Type.String(),
  cluster: Type.Optional(Type.String({ description: 'of the object' })),
  object: Type.Optional(ObjectSchema),
  fields: Type.Optional(Type.Array(Type.String())),
  change: Type.Optional(ChangeSchema),
  commits: Type.Optional(
    Type.Array(
      Type.Object({
        repo: Type.String(),
        sha: Type.String(),
        subject: Type.String(),
        author: Type.String(),
        committedAt: Type.String(),
      }),
    ),
  ),
  evidence: Type.Array(EvidenceSchema),
});

export const DriftSchema = Type.Object({
  application: ApplicationSchema,
  state: words(DRIFT_STATES),
  deployed: Type.Optional(SyncSchema),
  objects: Type.Integer({ description: 'objects that ever bore its mark' }),
  findings: Type.Array(FindingSchema),
  unknowns: Type.Array(Type.Object({ subject: Type.String(), reason: Type.String() }), {
    description: 'what would have to be known, to say that all is as git says',
  }),
  notes: Type.Array(Type.String(), { description: 'what is worth knowing and no drift' }),
});
export type DriftItem = Static<typeof DriftSchema>;

export function applicationItem(row: ApplicationRow, state: ApplicationState): ApplicationItem {
  const { autoSync, selfHeal, suspended } = settingsOf(state);
  const [last] = state.syncs;
  return {
    cluster: row.cluster,
    engine: row.engine,
    namespace: row.namespace,
    name: row.name,
    deleted: state.deleted,
    ...(autoSync !== undefined && { autoSync }),
    ...(selfHeal !== undefined && { selfHeal }),
    ...(suspended !== undefined && { suspended }),
    ...(last && { lastSync: syncItem(last) }),
  };
}

function syncItem(sync: Sync): Static<typeof SyncSchema> {
  return {
    startedAt: formatMicros(sync.startedAt),
    ...(sync.finishedAt !== undefined && { finishedAt: formatMicros(sync.finishedAt) }),
    phase: sync.phase,
    sources: sync.sources,
    ...(sync.initiator && { initiator: sync.initiator }),
    changeID: sync.changeID,
  };
}

export function driftItem(
  row: ApplicationRow,
  { state, deployed, objects, drift }: ApplicationDrift,
): DriftItem {
  return {
    application: applicationItem(row, state),
    state: drift.state,
    ...(deployed.deployed && { deployed: syncItem(deployed.deployed) }),
    objects,
    findings: drift.findings.map(findingItem),
    unknowns: drift.unknowns,
    notes: drift.notes,
  };
}

function findingItem(finding: DriftFinding): Static<typeof FindingSchema> {
  const { object, change, commits, fields, kind, strength, detail, evidence } = finding;
  return {
    kind,
    strength,
    detail,
    ...(object && {
      cluster: object.cluster,
      object: objectItem({ ...object.key, api_group: object.key.apiGroup }),
    }),
    ...(fields && { fields }),
    ...(change && { change: changeItem(change) }),
    ...(commits && {
      commits: commits.map((commit) => ({ ...commit, committedAt: formatMicros(commit.committedAt) })),
    }),
    evidence,
  };
}

function changeItem({ changeID, at, username, impersonatedUser, initiator, verdict }: DriftChange) {
  return {
    id: changeID,
    at: formatMicros(at),
    actor: username,
    ...(impersonatedUser !== undefined && { impersonatedUser }),
    ...(initiator !== undefined && { initiator }),
    ...(verdict !== undefined && { verdict }),
  };
}
