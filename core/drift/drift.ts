import type { Evidence } from '../approval/approval.js';
import type { ObjectKey } from '../identity.js';
import type { Strength } from '../links/link.js';

/**
 * What is found of an application.
 *
 * What runs and git does not say:
 * - `changed_outside_git`: fields that somebody changed since git was last written there
 * - `created_outside_git`: it bears the application's mark, and git never brought it
 * - `not_in_commit`: git brought it, and the deployed commit does not have it
 * - `differs_from_commit`: fields that are not as the deployed commit says; who made them so is not recorded
 * - `input_outside_git`: what was deployed last was given by hand, in part
 *
 * What git says and does not run:
 * - `deleted_outside_git`: somebody deleted it
 * - `missing`: the deployed commit has it, and the cluster never had it, or a sync deleted it
 * - `not_deployed`: commits on the branch that are not deployed
 *
 * What keeps the two from being known or becoming equal:
 * - `sync_failed`, `sync_unfinished`: the last sync
 * - `untrusted_record`: others than the controller wrote the record of the last sync
 * - `application_deleted`: nobody looks after what it had deployed
 * - `auto_sync_off`, `self_heal_off`, `suspended`: somebody switched it off
 */
export const DRIFT_KINDS = [
  'changed_outside_git',
  'created_outside_git',
  'not_in_commit',
  'differs_from_commit',
  'input_outside_git',
  'deleted_outside_git',
  'missing',
  'not_deployed',
  'sync_failed',
  'sync_unfinished',
  'untrusted_record',
  'application_deleted',
  'auto_sync_off',
  'self_heal_off',
  'suspended',
] as const;
export type DriftKind = (typeof DRIFT_KINDS)[number];

/** Those by which what runs is not what git says. */
const DRIFTED: readonly DriftKind[] = [
  'changed_outside_git',
  'created_outside_git',
  'not_in_commit',
  'differs_from_commit',
  'input_outside_git',
  'deleted_outside_git',
  'missing',
  'not_deployed',
  'application_deleted',
];
/** Those after which nobody can say that the two are equal. */
const DOUBTFUL: readonly DriftKind[] = ['sync_failed', 'sync_unfinished', 'untrusted_record'];

export const DRIFT_STATES = ['in_sync', 'drifted', 'unknown'] as const;
export type DriftState = (typeof DRIFT_STATES)[number];

/** An object of a cluster. */
export interface PlacedObject {
  cluster: string;
  key: ObjectKey;
}

/** The change behind a finding, with what is said of it. `at` is microseconds. */
export interface DriftChange {
  changeID: string;
  at: number;
  /** The authenticated user, and whom they impersonated. */
  username: string;
  impersonatedUser?: string;
  /** The user of Argo CD, where something tells. */
  initiator?: string;
  /** `out-of-band`, `break-glass(pending)`; undefined: nothing yet. */
  verdict?: string;
}

export interface DriftFinding {
  kind: DriftKind;
  strength: Strength;
  /** For a person to read. */
  detail: string;
  object?: PlacedObject;
  /** Paths only: values may be secret. */
  fields?: string[];
  change?: DriftChange;
  commits?: DriftCommit[];
  evidence: Evidence[];
}

/** A commit that is not deployed. `committedAt` is microseconds. */
export interface DriftCommit {
  repo: string;
  sha: string;
  subject: string;
  author: string;
  committedAt: number;
}

/** Something that would have to be known, to say that all is as git says. */
export interface DriftUnknown {
  /** What it is about: an object, a repository, the application. */
  subject: string;
  reason: string;
}

export interface Drift {
  state: DriftState;
  findings: DriftFinding[];
  unknowns: DriftUnknown[];
  /** What is worth knowing and no drift. */
  notes: string[];
}

/** The word for all that was found; where something is not known, nothing is said to be in sync. */
export function driftState(findings: readonly DriftFinding[], unknowns: readonly DriftUnknown[]): DriftState {
  if (findings.some(({ kind }) => DRIFTED.includes(kind))) return 'drifted';
  return unknowns.length > 0 || findings.some(({ kind }) => DOUBTFUL.includes(kind)) ? 'unknown' : 'in_sync';
}

/** `apps/deployments shop/web`, with its cluster where that is not the application's. */
export function objectText({ cluster, key }: PlacedObject, home: string): string {
  const type = key.apiGroup === '' ? key.resource : `${key.apiGroup}/${key.resource}`;
  const place = key.namespace === '' ? key.name : `${key.namespace}/${key.name}`;
  return `${type} ${place}${cluster === home ? '' : ` in cluster ${cluster}`}`;
}
