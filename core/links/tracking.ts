import { labelOf, type Subject } from './link.js';

/** The application of a GitOps controller that an object says it belongs to. */
export interface Tracking {
  engine: 'argocd' | 'flux' | 'helm';
  /** Undefined where the object doesn't tell: Argo CD's own namespace. */
  namespace: string | undefined;
  name: string;
  /** Whether the mark names this very object; a copied mark names another. */
  own: boolean;
  by: 'annotation' | 'label';
}

const ARGOCD_ID = 'argocd.argoproj.io/tracking-id';
const ARGOCD_LABELS = ['argocd.argoproj.io/instance', 'app.kubernetes.io/instance'];

/**
 * The marks that GitOps controllers leave on what they manage. Argo CD's tracking id is `app:group/Kind:namespace/name`,
 * the application as `namespace_app` where it isn't in Argo CD's own namespace
 * (argo-cd util/argo/resource_tracking.go); Flux sets labels (fluxcd/pkg/ssa).
 */
export function trackingsOf(subject: Subject): Tracking[] {
  const found: Tracking[] = [];
  const id = subject.annotations[ARGOCD_ID];
  const parts = id === undefined ? null : /^([^:]+):([^/:]*)\/([^:]+):([^/:]*)\/(.+)$/.exec(id);
  if (parts) {
    const [, app, group, kind, namespace, name] = parts as unknown as [
      string,
      string,
      string,
      string,
      string,
      string,
    ];
    const own =
      group === subject.key.apiGroup &&
      name === subject.key.name &&
      (namespace === subject.key.namespace || subject.key.namespace === '') &&
      (subject.objectKind === undefined || subject.objectKind === kind);
    found.push({ engine: 'argocd', ...applicationName(app), own, by: 'annotation' });
  } else {
    for (const label of ARGOCD_LABELS) {
      const app = labelOf(subject, label);
      if (app !== undefined) {
        found.push({ engine: 'argocd', ...applicationName(app), own: true, by: 'label' });
        break;
      }
    }
  }
  const flux = labelled(subject, 'kustomize.toolkit.fluxcd.io');
  if (flux) found.push({ engine: 'flux', ...flux, own: true, by: 'label' });
  const helm = labelled(subject, 'helm.toolkit.fluxcd.io');
  if (helm) found.push({ engine: 'helm', ...helm, own: true, by: 'label' });
  return found;
}

function labelled(subject: Subject, domain: string): { namespace: string; name: string } | undefined {
  const name = labelOf(subject, `${domain}/name`);
  const namespace = labelOf(subject, `${domain}/namespace`);
  return name !== undefined && namespace !== undefined ? { namespace, name } : undefined;
}

function applicationName(app: string): { namespace: string | undefined; name: string } {
  const [namespace, name] = app.split('_', 2);
  return name === undefined ? { namespace: undefined, name: app } : { namespace, name };
}
