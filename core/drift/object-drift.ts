import type { JsonObject } from '../audit-event.js';
import { isJsonObject } from '../classify.js';
import { leavesOf } from '../leaves.js';
import { compareManifest } from '../manifest/compare.js';
import { normalizeManifest } from '../manifest/manifest.js';
import { type VerdictName, verdictText } from '../verdict/verdict.js';
import type { Certainty, ChangeClass, ChangeKind } from '../vocabulary.js';
import { changedFields, overlap } from './changed-fields.js';
import {
  type DriftChange,
  type DriftFinding,
  type DriftUnknown,
  objectText,
  type PlacedObject,
} from './drift.js';

/** A write of an object, with what is said of it. */
export interface ManagedWrite extends Omit<DriftChange, 'verdict'> {
  class: ChangeClass;
  kind: ChangeKind;
  deleted: boolean;
  /** Fields that it changed; undefined: not known. */
  paths: readonly string[] | undefined;
  verdict: { verdict: VerdictName; reason: string | null } | undefined;
}

/** An object that bears an application's mark. Times are microseconds. */
export interface ManagedObject extends PlacedObject {
  /** Its newest version, of one that is gone the last before; undefined: none is recorded. */
  current:
    | { changeID: string; at: number; deleted: boolean; certainty: Certainty; object: JsonObject | undefined }
    | undefined;
  /** The last write that brought it from git; undefined: none is recorded. */
  base: { changeID: string; at: number; object: JsonObject | undefined; detail: string } | undefined;
  /** Writes since then that were no mere status, newest first; all there are where there is no base. */
  writes: ManagedWrite[];
  /** There are more writes than were looked at. */
  moreWrites: boolean;
  /** Whether the mark is one that others don't set too: a tracking id of this object, or the labels of Flux. */
  marked: boolean;
}

/** What the deployed commit says of an object: its manifest, `absent`, or undefined where it can't be rendered. */
export type Wanted = { manifest: JsonObject; renderer: string } | 'absent' | undefined;

export interface ObjectDrift {
  findings: DriftFinding[];
  unknowns: DriftUnknown[];
  notes: string[];
}

/** Most that a finding lists. */
const LISTED = 50;

/**
 * How one object stands to git: against the deployed commit's manifest where that can be had, and against what git last
 * wrote there. Who changed a field is the newest write that touched it; what controllers do on their own (a scaler's
 * replicas) is no drift.
 * @param deployedAt when the last sync that went well began
 */
export function objectDrift(
  object: ManagedObject,
  wanted: Wanted,
  deployedAt: number | undefined,
  home: string,
): ObjectDrift {
  const drift: ObjectDrift = { findings: [], unknowns: [], notes: [] };
  const { current, base } = object;
  const subject = objectText(object, home);
  // What was only looked into, or is another's controller's.
  if (!current || isOwned(current.object)) return drift;
  if (current.deleted) {
    deletion(object, wanted, deployedAt, subject, drift);
    return drift;
  }
  if (!base && !object.marked) return drift;
  if (wanted === 'absent' && base) {
    drift.findings.push({
      kind: 'not_in_commit',
      strength: 'strong',
      detail: `${subject} runs, and the deployed commit does not have it`,
      object: placeOf(object),
      evidence: [baseEvidence(base)],
    });
    return drift;
  }
  if (!base && (wanted === undefined || wanted === 'absent')) {
    withoutBase(object, subject, drift);
    return drift;
  }
  if (!current.object || current.certainty === 'unknown') {
    drift.unknowns.push({ subject, reason: 'what it holds since its last write was not recorded' });
    return drift;
  }
  compare(object, current.object, wanted === 'absent' ? undefined : wanted, subject, drift);
  return drift;
}

function deletion(
  object: ManagedObject,
  wanted: Wanted,
  deployedAt: number | undefined,
  subject: string,
  drift: ObjectDrift,
): void {
  const { current, base } = object;
  const at = current!.at;
  if (base?.changeID === current!.changeID && wanted !== undefined && wanted !== 'absent') {
    drift.findings.push({
      kind: 'missing',
      strength: 'exact',
      detail: `the deployed commit has ${subject}, and a sync deleted it`,
      object: placeOf(object),
      evidence: [baseEvidence(base)],
    });
    return;
  }
  // Git's own doing, or git does not want it any more; a later sync would have brought it back.
  if (base?.changeID === current!.changeID || wanted === 'absent') return;
  if (!base && !object.marked) return;
  if (wanted === undefined && (deployedAt === undefined || at <= deployedAt)) return;
  const write = object.writes.find((one) => one.changeID === current!.changeID);
  if (!write?.verdict || write.verdict.verdict === 'unknown') {
    drift.unknowns.push({ subject, reason: 'it was deleted, and whether git asked for that is not known' });
    return;
  }
  drift.findings.push({
    kind: 'deleted_outside_git',
    strength: wanted ? 'exact' : 'strong',
    detail: `${subject} was deleted by ${who(write)}: ${verdictText(write.verdict)}`,
    object: placeOf(object),
    change: changeOf(write),
    evidence: [writeEvidence(write), ...(base ? [baseEvidence(base)] : [])],
  });
}

/** Nothing ties it to git, and what git would say of it is not known. */
function withoutBase(object: ManagedObject, subject: string, drift: ObjectDrift): void {
  const created = object.writes.find(({ kind }) => kind === 'create');
  if (created?.verdict?.verdict === 'out-of-band' || created?.verdict?.verdict === 'break-glass')
    drift.findings.push({
      kind: 'created_outside_git',
      strength: 'strong',
      detail: `${subject} bears the application's mark; ${who(created)} made it, and git never wrote it`,
      object: placeOf(object),
      change: changeOf(created),
      evidence: [writeEvidence(created)],
    });
  else
    drift.unknowns.push({
      subject,
      reason: created
        ? 'no write of it is tied to git'
        : 'its creation is not recorded, and no write since is tied to git',
    });
}

function compare(
  object: ManagedObject,
  current: JsonObject,
  wanted: { manifest: JsonObject; renderer: string } | undefined,
  subject: string,
  drift: ObjectDrift,
): void {
  const { base } = object;
  const since = base?.object ? changedFields(base.object, current) : undefined;
  if (!since && !wanted) {
    drift.unknowns.push({ subject, reason: 'what git last wrote there was not recorded' });
    return;
  }
  let fields = since ?? [];
  if (wanted) {
    const differing = compareManifest(wanted.manifest, current).differences.map(({ path }) => path);
    const says = leavesOf(normalizeManifest(wanted.manifest)).map(({ path }) => path);
    // Somebody may have set what git says by now.
    fields = fields.filter((field) => !says.some((path) => overlap(path, field)));
    const early = base?.object
      ? compareManifest(wanted.manifest, base.object).differences.map(({ path }) => path)
      : [];
    const untouched = differing.filter(
      (field) => early.includes(field) && !since?.some((one) => overlap(one, field)),
    );
    if (untouched.length > 0)
      drift.notes.push(
        `${subject}: ${listed(untouched)} differ from the commit, as they did when git was last written there: by a default, an admission webhook or a setting of the application`,
      );
    fields = [...new Set([...fields, ...differing.filter((field) => !untouched.includes(field))])];
  }
  blame(object, fields, wanted !== undefined, subject, drift);
}

/** Says of each field who changed it last. */
function blame(
  object: ManagedObject,
  fields: readonly string[],
  rendered: boolean,
  subject: string,
  drift: ObjectDrift,
): void {
  const byWrite = new Map<ManagedWrite | undefined, string[]>();
  for (const field of fields) {
    const write = object.writes.find(
      ({ paths, deleted }) => !deleted && (paths === undefined || paths.some((path) => overlap(path, field))),
    );
    byWrite.set(write, [...(byWrite.get(write) ?? []), field]);
  }
  const strength = object.current!.certainty === 'exact' ? 'exact' : 'strong';
  for (const [write, own] of byWrite) {
    if (!write) {
      drift.findings.push({
        kind: 'differs_from_commit',
        strength: rendered ? strength : 'weak',
        detail: `${subject}: ${listed(own)} ${rendered ? 'are not as the deployed commit says' : 'are not as git last wrote them'}; ${object.moreWrites ? `who made them so is not among the last ${object.writes.length} writes` : 'who made them so is not recorded'}`,
        object: placeOf(object),
        fields: own.slice(0, LISTED),
        evidence: object.base ? [baseEvidence(object.base)] : [],
      });
    } else if (write.verdict?.verdict === 'system')
      drift.notes.push(`${subject}: ${listed(own)} are ${who(write)}'s to set`);
    else if (!write.verdict || write.verdict.verdict === 'unknown')
      drift.unknowns.push({
        subject,
        reason: `${who(write)} changed ${listed(own)}, and whether from git is not known${write.verdict ? '' : ' yet'}`,
      });
    else
      drift.findings.push({
        kind: 'changed_outside_git',
        strength: write.paths === undefined ? 'strong' : strength,
        detail: `${subject}: ${who(write)} changed ${listed(own)}: ${verdictText(write.verdict)}`,
        object: placeOf(object),
        fields: own.slice(0, LISTED),
        change: changeOf(write),
        evidence: [writeEvidence(write), ...(object.base ? [baseEvidence(object.base)] : [])],
      });
  }
}

/** What another object's controller made is that controller's. */
function isOwned(object: JsonObject | undefined): boolean {
  const metadata = object?.metadata;
  const owners = isJsonObject(metadata) ? metadata.ownerReferences : undefined;
  return Array.isArray(owners) && owners.some((owner) => isJsonObject(owner) && owner.controller === true);
}

function listed(fields: readonly string[]): string {
  const shown = fields.slice(0, 5).join(', ');
  return fields.length > 5 ? `${shown} and ${fields.length - 5} more fields` : shown;
}

function who(write: ManagedWrite): string {
  return write.impersonatedUser === undefined
    ? write.username
    : `${write.username} as ${write.impersonatedUser}`;
}

function placeOf({ cluster, key }: ManagedObject): PlacedObject {
  return { cluster, key };
}

function changeOf(write: ManagedWrite): DriftChange {
  return {
    changeID: write.changeID,
    at: write.at,
    username: write.username,
    ...(write.impersonatedUser !== undefined && { impersonatedUser: write.impersonatedUser }),
    ...(write.verdict && { verdict: verdictText(write.verdict) }),
  };
}

function writeEvidence(write: ManagedWrite) {
  return {
    kind: 'change',
    ref: write.changeID,
    detail: `${who(write)} ${write.deleted ? 'deleted it' : write.kind === 'create' ? 'created it' : 'changed it'}`,
  };
}

function baseEvidence(base: NonNullable<ManagedObject['base']>) {
  return { kind: 'change', ref: base.changeID, detail: base.detail };
}
