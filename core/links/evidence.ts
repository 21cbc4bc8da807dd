import type { Attribution } from '../attribution/attribution.js';
import type { ObjectKey } from '../identity.js';
import type { Policy } from '../verdict/policy.js';
import { actorOf } from '../verdict/policy-match.js';
import type { LinkedSource } from './link.js';
import type { CiRun } from './pipeline.js';
import type { Sync } from './sync.js';

/** What the rules look at beside the change. The store gathers it (store/link-evidence.ts); deciding is pure. */
export interface LinkEvidence {
  policy: Policy;
  attribution: Attribution | undefined;
  /** Syncs of the Application that the object's mark names. */
  argocd: ApplicationRecord[];
  /** Attempts of the Kustomization that its labels name, around the time of the change. */
  flux: Sync[];
  /** Who last set on that Kustomization what changes the files that it builds, before the change. */
  fluxOverridesBy: OverrideSetter | undefined;
  /** The HelmRelease that its labels name, as it was then. */
  helmRelease: HelmReleaseRecord | undefined;
  /** The run that the pipeline's session names, as its host tells it; undefined: it names none, or nothing is told. */
  ciRun: CiRun | undefined;
  /** Commits whose manifests render to what was written. */
  rendered: RenderedMatch[];
}

/** Who set what replaces what git says; undefined wherever it is: not recorded. */
export interface OverrideSetter {
  username: string;
  changeID: string;
  /** By name: `images, patches`. */
  settings: string;
}

/** One Application of that name; a hub may run Applications of one name in several namespaces. */
export interface ApplicationRecord {
  cluster: string;
  key: ObjectKey;
  syncs: Sync[];
  /** Who last set parameters or images that replace what git says, before the change; undefined: not recorded. */
  overridesBy: OverrideSetter | undefined;
}

export interface HelmReleaseRecord {
  key: ObjectKey;
  chart: { name: string; version: string; ociDigest?: string } | undefined;
  configDigest: string | undefined;
  /** `GitRepository`, `HelmRepository`, `OCIRepository`...: where the chart comes from. */
  sourceKind: string | undefined;
  /** When its spec was last changed, and by whom. */
  changedAt: number;
  changedBy: { username: string; changeID: string };
  /** What its values are taken from besides, such as `Secret cache-values`. */
  valuesFrom: string[];
  /** Its chart, where that lies in a git repository, at the revision that Flux had fetched at the time of the change. */
  chartSource: LinkedSource | undefined;
  /** Attempts of the Kustomization that the HelmRelease belongs to, around then. */
  parent: Sync[];
  /** Who last set on that one what changes the files that it builds. */
  parentOverridesBy: OverrideSetter | undefined;
}

export interface RenderedMatch {
  repository: string;
  sha: string;
  path: string;
  renderer: string;
  /** Of the manifest's normal form, in hex. */
  digest: string;
  /** What of it was held against what was written, two steps deep: `spec.replicas`. */
  fields: string[];
}

/** Those syncs whose record nobody but the engine's own controller wrote. */
export function trustedSyncs(policy: Policy, syncs: readonly Sync[]): { trusted: Sync[]; forged: Sync[] } {
  const trusted: Sync[] = [];
  const forged: Sync[] = [];
  for (const sync of syncs) {
    const kind = sync.engine === 'argocd' ? 'argocd' : 'flux';
    const good = sync.recorders.every((username) => actorOf(policy, { username })?.kind === kind);
    (good ? trusted : forged).push(sync);
  }
  return { trusted, forged };
}
