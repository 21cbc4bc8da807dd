import type { Json, JsonObject } from '../audit-event.js';
import { isJsonObject } from '../classify.js';
import { deepEqual } from '../diff/diff.js';
import { declaredSources, overridesOf } from './argocd-application.js';
import { field, text } from './json-field.js';
import { KUSTOMIZATION_SETTINGS, readingOfFlux } from './source-reading.js';
import type { RecordWrite } from './sync.js';

/**
 * What a write of an Argo CD Application, or of a Flux Kustomization or HelmRelease, asked of its controller.
 *
 * - `sync`, `rollback`: an operation was set; a rollback names an earlier revision. Of Flux: a reconciliation was asked for
 * - `terminate`: the operation at work is to end
 * - `auto_sync_disabled`, `auto_sync_enabled` (of Flux: suspended, resumed), `self_heal_disabled`, `self_heal_enabled`
 * - `override_set`, `override_removed`: parameters, images or patches that replace what git says
 */
export const APPLICATION_ACTIONS = [
  'sync',
  'rollback',
  'terminate',
  'auto_sync_disabled',
  'auto_sync_enabled',
  'self_heal_disabled',
  'self_heal_enabled',
  'override_set',
  'override_removed',
] as const;
export type ApplicationActionName = (typeof APPLICATION_ACTIONS)[number];

export interface ApplicationAction {
  action: ApplicationActionName;
  /** Of what; left out for an Application. */
  kind?: 'Kustomization' | 'HelmRelease';
  /** The user of Argo CD, where the operation names one. */
  username?: string;
  automated?: boolean;
  revision?: string;
  detail?: string;
}

/** The revisions that the Application's own history lists as deployed, oldest first; of several sources as one text. */
function deployedRevisions(application: JsonObject | undefined): string[] {
  const history = field(application, 'status', 'history');
  if (!Array.isArray(history)) return [];
  return history.filter(isJsonObject).flatMap((entry) => revisionIn(entry) ?? []);
}

/** The revision of one source, or those of several, that an operation or an entry of the history names. */
function revisionIn(holder: Json | undefined): string | undefined {
  const many = field(holder, 'revisions');
  if (Array.isArray(many) && many.length > 0) return many.map((revision) => text(revision) ?? '').join(', ');
  return text(field(holder, 'revision'));
}

/** What a write of an Application asked for. Both sides of it must be known. */
export function actionsOf(write: RecordWrite): ApplicationAction[] {
  const { after } = write;
  const before = write.created ? {} : write.before;
  if (!before || !after) return [];
  const actions: ApplicationAction[] = [];
  const operation = field(after, 'operation');
  if (isJsonObject(operation) && !deepEqual(operation, field(before, 'operation') ?? null)) {
    const sync = field(operation, 'sync');
    const username = text(field(operation, 'initiatedBy', 'username'));
    const revision = revisionIn(sync);
    const deployed = deployedRevisions(before);
    const isRollback =
      revision !== undefined && deployed.slice(0, -1).includes(revision) && deployed.at(-1) !== revision;
    actions.push({
      action: isRollback ? 'rollback' : 'sync',
      automated: field(operation, 'initiatedBy', 'automated') === true,
      ...(username !== undefined && { username }),
      ...(revision !== undefined && { revision }),
    });
  }
  const phase = (application: JsonObject) => field(application, 'status', 'operationState', 'phase');
  if (phase(after) === 'Terminating' && phase(before) !== 'Terminating')
    actions.push({ action: 'terminate' });
  const [formerAuto, auto] = [automation(before), automation(after)];
  // A new Application switches nothing.
  if (write.created) formerAuto.sync = auto.sync;
  if (write.created) formerAuto.selfHeal = auto.selfHeal;
  if (formerAuto.sync !== auto.sync)
    actions.push({ action: auto.sync ? 'auto_sync_enabled' : 'auto_sync_disabled' });
  if (formerAuto.selfHeal !== auto.selfHeal)
    actions.push({ action: auto.selfHeal ? 'self_heal_enabled' : 'self_heal_disabled' });
  actions.push(
    ...overrideActions(
      overridesOf(declaredSources(after)),
      overridesOf(declaredSources(before)),
      !deepEqual(declaredSources(before), declaredSources(after)),
    ),
  );
  return actions;
}

function overrideActions(
  now: readonly string[],
  before: readonly string[],
  changed: boolean,
): ApplicationAction[] {
  if (!changed) return [];
  if (now.length > 0) return [{ action: 'override_set', detail: now.join(', ') }];
  return before.length > 0 ? [{ action: 'override_removed', detail: before.join(', ') }] : [];
}

const REQUESTED_AT = 'reconcile.fluxcd.io/requestedAt';

/**
 * What a write of a Kustomization or HelmRelease asked of Flux. Source: fluxcd/pkg apis/meta (ReconcileRequestAnnotation),
 * the `spec.suspend` of both kinds.
 */
export function actionsOfFlux(write: RecordWrite): ApplicationAction[] {
  const { after } = write;
  const before = write.created ? {} : write.before;
  if (!before || !after) return [];
  const actions: ApplicationAction[] = [];
  const requested = (object: JsonObject) => text(field(object, 'metadata', 'annotations', REQUESTED_AT));
  if (requested(after) !== undefined && requested(after) !== requested(before))
    actions.push({ action: 'sync' });
  const suspended = (object: JsonObject) => field(object, 'spec', 'suspend') === true;
  if (!write.created && suspended(before) !== suspended(after))
    actions.push({ action: suspended(after) ? 'auto_sync_disabled' : 'auto_sync_enabled' });
  const values = (object: JsonObject) =>
    KUSTOMIZATION_SETTINGS.map((name) => field(object, 'spec', name) ?? null);
  const settings = (object: JsonObject) => readingOfFlux(object).settings ?? [];
  actions.push(
    ...overrideActions(settings(after), settings(before), !deepEqual(values(before), values(after))),
  );
  return actions;
}

/** Whether an Application syncs by itself. Since 3.0 `automated` may be there and switched off by `enabled: false`. */
export function automation(application: JsonObject): { sync: boolean; selfHeal: boolean } {
  const automated = field(application, 'spec', 'syncPolicy', 'automated');
  const sync = isJsonObject(automated) && automated.enabled !== false;
  return { sync, selfHeal: sync && field(automated, 'selfHeal') === true };
}

/**
 * The user that argocd-server names in the Kubernetes Event it writes beside each action: `alice updated application
 * spec`. The Application itself doesn't tell who changed it through the API (argo-cd#10210, #9712).
 * Source: argo-cd server/application/application.go, logAppEvent.
 */
export function userOfEvent(message: string): string | undefined {
  const match = /^(.+?) (?:initiated |updated |terminated |created |deleted |patched |set |ran action )/.exec(
    message,
  );
  return match && match[1] !== 'Unknown user' ? match[1] : undefined;
}
