import type { JsonObject } from '../audit-event.js';
import { isJsonObject } from '../classify.js';
import { deepEqual } from '../diff/diff.js';
import { declaredSources, overridesOf } from './argocd-application.js';
import { field, text } from './json-field.js';
import type { RecordWrite } from './sync.js';

/**
 * What a write of an Argo CD Application asked of Argo CD.
 *
 * - `sync`, `rollback`: an operation was set; a rollback names an earlier revision
 * - `terminate`: the operation at work is to end
 * - `auto_sync_disabled`, `auto_sync_enabled`, `self_heal_disabled`, `self_heal_enabled`
 * - `override_set`: parameters or images that replace what git says
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
] as const;
export type ApplicationActionName = (typeof APPLICATION_ACTIONS)[number];

export interface ApplicationAction {
  action: ApplicationActionName;
  /** The user of Argo CD, where the operation names one. */
  username?: string;
  automated?: boolean;
  revision?: string;
  detail?: string;
}

/** The revisions that the Application's own history lists as deployed, oldest first. */
function deployedRevisions(application: JsonObject | undefined): string[] {
  const history = field(application, 'status', 'history');
  if (!Array.isArray(history)) return [];
  return history.filter(isJsonObject).flatMap((entry) => text(entry.revision) ?? []);
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
    const revision = text(field(sync, 'revision'));
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
  const overrides = overridesOf(declaredSources(after));
  if (overrides.length > 0 && !deepEqual(declaredSources(before), declaredSources(after)))
    actions.push({ action: 'override_set', detail: overrides.join(', ') });
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
