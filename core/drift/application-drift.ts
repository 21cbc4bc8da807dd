import type { JsonObject } from '../audit-event.js';
import { isJsonObject } from '../classify.js';
import type { ObjectKey } from '../identity.js';
import { type ApplicationActionName, automation } from '../links/application-actions.js';
import { trustedSyncs } from '../links/evidence.js';
import { isGitopsController, overridesOfSync } from '../links/flux.js';
import { field, text } from '../links/json-field.js';
import { revisionKey, type Sync } from '../links/sync.js';
import type { Policy } from '../verdict/policy.js';
import type { Drift, DriftChange, DriftFinding, DriftUnknown } from './drift.js';

export const ENGINES = ['argocd', 'flux', 'helm'] as const;
/** `argocd`: an Application; `flux`: a Kustomization; `helm`: a HelmRelease of Flux. */
export type Engine = (typeof ENGINES)[number];

/** A sync that goes on for this long isn't known to end, in microseconds. */
const LONGEST_SYNC = 60 * 60 * 1e6;

/** What an application's own object and its syncs tell. Times are microseconds. */
export interface ApplicationState {
  engine: Engine;
  cluster: string;
  key: ObjectKey;
  /** As it was last recorded; undefined: its content never was. */
  object: JsonObject | undefined;
  deleted: boolean;
  /** The last write of it: of one that is deleted, the deletion. */
  change: DriftChange | undefined;
  /** Its syncs, newest first: the last few, and the last that went well. */
  syncs: Sync[];
  /** The last of each kind of action, by what was asked. */
  actions: ReadonlyMap<ApplicationActionName, DriftChange>;
  /** Who set `spec.suspend`; undefined: not recorded. */
  suspendedBy: DriftChange | undefined;
}

/** What an application is set to. Undefined: not known. */
export interface ApplicationSettings {
  autoSync: boolean | undefined;
  selfHeal: boolean | undefined;
  suspended: boolean | undefined;
}

export function settingsOf({
  engine,
  object,
}: Pick<ApplicationState, 'engine' | 'object'>): ApplicationSettings {
  if (!object) return { autoSync: undefined, selfHeal: undefined, suspended: undefined };
  if (engine === 'argocd') {
    const { sync, selfHeal } = automation(object);
    return { autoSync: sync, selfHeal, suspended: false };
  }
  // Flux applies what it has in each interval, but for what is suspended.
  const suspended = field(object, 'spec', 'suspend') === true;
  return { autoSync: !suspended, selfHeal: !suspended && engine === 'flux', suspended };
}

/** The newest sync of all, and the last that is known to have brought its revisions. */
export interface DeployedSync {
  newest: Sync | undefined;
  deployed: Sync | undefined;
}

/** Which sync tells what is deployed: the last that went well, of those whose record only the controller wrote. */
export function deployedSync(syncs: readonly Sync[], policy: Policy): DeployedSync {
  const ordered = [...syncs].filter(({ dryRun }) => !dryRun).sort((a, b) => b.startedAt - a.startedAt);
  const { trusted } = trustedSyncs(policy, ordered);
  return { newest: ordered[0], deployed: trusted.find(({ phase }) => phase === 'succeeded') };
}

/** What there is to say of an application without looking at its objects. */
export function applicationDrift(state: ApplicationState, policy: Policy, now: number): Omit<Drift, 'state'> {
  const findings: DriftFinding[] = [];
  const unknowns: DriftUnknown[] = [];
  const name = `${state.key.namespace}/${state.key.name}`;
  if (state.deleted)
    findings.push({
      kind: 'application_deleted',
      strength: 'exact',
      detail: `${name} was deleted${state.change ? ` by ${state.change.username}` : ''}, and what it brought still runs`,
      ...(state.change && { change: state.change }),
      evidence: [],
    });
  else findings.push(...switchedOff(state));
  if (state.engine === 'helm') release(state, findings, unknowns);
  else syncs(state, policy, now, findings, unknowns);
  return { findings, unknowns, notes: [] };
}

function syncs(
  state: ApplicationState,
  policy: Policy,
  now: number,
  findings: DriftFinding[],
  unknowns: DriftUnknown[],
): void {
  const { newest, deployed } = deployedSync(state.syncs, policy);
  const name = `${state.key.namespace}/${state.key.name}`;
  if (!newest) {
    unknowns.push({ subject: name, reason: 'no sync of it is recorded' });
    return;
  }
  const what = revisionKey(newest.sources).replaceAll('\n', '; ');
  const evidence = [{ kind: 'sync', ref: newest.changeID, detail: `${name} at ${what}` }];
  const find = (kind: DriftFinding['kind'], detail: string) =>
    findings.push({ kind, strength: 'exact', detail, evidence });
  if (trustedSyncs(policy, [newest]).forged.length > 0)
    find(
      'untrusted_record',
      `the record of the last sync was written by ${newest.recorders.join(', ')}: it proves nothing`,
    );
  else if (newest.phase === 'failed') find('sync_failed', `the last sync, of ${what}, failed`);
  else if (newest.phase === 'running' && now - newest.startedAt > LONGEST_SYNC)
    find('sync_unfinished', `the last sync, of ${what}, is not known to have ended`);
  const setter = state.actions.get('override_set');
  if (deployed && state.engine === 'flux' && setter && !isGitopsController(policy, setter.username))
    for (const setting of overridesOfSync(deployed))
      findings.push({
        kind: 'input_outside_git',
        strength: 'strong',
        detail: `what was deployed is not all from git: ${setting}`,
        change: setter,
        evidence: [{ kind: 'change', ref: setter.changeID, detail: `${setting} of the Kustomization` }],
      });
  if (!deployed) unknowns.push({ subject: name, reason: 'no sync that went well is recorded' });
  else
    for (const input of deployed.nonGit)
      findings.push({
        kind: 'input_outside_git',
        strength: 'exact',
        detail: `what was deployed is not all from git: ${input.detail}`,
        ...(input.kind === 'overrides' &&
          state.actions.get('override_set') && { change: state.actions.get('override_set')! }),
        evidence: [
          {
            kind: 'sync',
            ref: deployed.changeID,
            detail: `operation ${deployed.operationDigest.slice(0, 12)}`,
          },
        ],
      });
}

/** What somebody switched off; what was never on is a setting, and no finding. */
function switchedOff(state: ApplicationState): DriftFinding[] {
  const settings = settingsOf(state);
  const found: DriftFinding[] = [];
  const find = (kind: DriftFinding['kind'], what: string, change: DriftChange | undefined) =>
    found.push({
      kind,
      strength: 'exact',
      detail: change
        ? `${change.initiator ?? change.username} switched ${what} off`
        : `${what} is off, and who switched it off is not recorded`,
      ...(change && { change }),
      evidence: change ? [{ kind: 'change', ref: change.changeID, detail: `${what} off` }] : [],
    });
  const autoSync = state.actions.get('auto_sync_disabled');
  if (settings.autoSync === false && state.engine === 'argocd' && autoSync)
    find('auto_sync_off', 'auto-sync', autoSync);
  const selfHeal = state.actions.get('self_heal_disabled');
  if (settings.selfHeal === false && settings.autoSync && state.engine === 'argocd' && selfHeal)
    find('self_heal_off', 'self-heal', selfHeal);
  if (settings.suspended) find('suspended', 'reconciling', state.suspendedBy);
  return found;
}

/** A HelmRelease has no syncs of its own: its conditions say how the last one went. */
function release(state: ApplicationState, findings: DriftFinding[], unknowns: DriftUnknown[]): void {
  const name = `${state.key.namespace}/${state.key.name}`;
  const conditions = field(state.object, 'status', 'conditions');
  const ready = Array.isArray(conditions)
    ? conditions.filter(isJsonObject).find(({ type }) => type === 'Ready')
    : undefined;
  const status = text(ready?.status);
  if (status === undefined)
    unknowns.push({ subject: name, reason: 'how its last release went is not recorded' });
  else if (status === 'False')
    findings.push({
      kind: 'sync_failed',
      strength: 'exact',
      detail: `its last release failed: ${text(ready?.reason) ?? 'no reason is told'}`,
      evidence: state.change ? [{ kind: 'change', ref: state.change.changeID, detail: 'its status' }] : [],
    });
}
