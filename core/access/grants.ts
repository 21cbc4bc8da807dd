import { ROLES, type Role } from '../vocabulary.js';

/** A permission: a role within clusters and namespaces; null: all of them. */
export interface Grant {
  role: Role;
  clusters: string[] | null;
  namespaces: string[] | null;
}

export const CALLER_KINDS = [
  'token',
  'oidc',
  'client_cert',
  'service_account',
  'kubernetes_user',
  // whochanged itself: a file of settings that it read
  'system',
  'none',
] as const;
export type CallerKind = (typeof CALLER_KINDS)[number];

/** Who asks, once authenticated. */
export interface Caller {
  name: string;
  kind: CallerKind;
  grants: Grant[];
  /** Of an OIDC provider, a cluster, or the organizations of a certificate; none for a token of ours. */
  groups: string[];
  /** When the credential ends, in milliseconds since the Unix epoch; undefined: it doesn't, or that is not known. */
  expiresAt: number | undefined;
  /** Of one of our own tokens. */
  tokenID: number | undefined;
}

/** The role that a caller has everywhere; undefined for a tenant, who has one only within bounds. */
export function unboundedRole(grants: readonly Grant[]): Role | undefined {
  return highest(grants.filter((grant) => grant.clusters === null && grant.namespaces === null));
}

/** The highest role that a caller has anywhere. */
export function roleAnywhere(grants: readonly Grant[]): Role | undefined {
  return highest(grants);
}

function highest(grants: readonly Grant[]): Role | undefined {
  let best = -1;
  for (const { role } of grants) best = Math.max(best, ROLES.indexOf(role));
  return ROLES[best];
}

export function includesRole(held: Role | undefined, needed: Role): boolean {
  return held !== undefined && ROLES.indexOf(held) >= ROLES.indexOf(needed);
}

/**
 * What a tenant sees, in the form of the setting `whochanged.scope` (migrations/011): `ID/NAMESPACE` and `ID/*`.
 * Cluster-scoped objects belong to no namespace and are seen only with all of a cluster. A cluster that doesn't exist
 * gives nothing.
 */
export function scopeOf(grants: readonly Grant[], clusters: ReadonlyMap<string, number>): string[] {
  const scope = new Set<string>();
  for (const grant of grants) {
    for (const name of grant.clusters ?? clusters.keys()) {
      const id = clusters.get(name);
      if (id === undefined) continue;
      // An empty name would be that of cluster-scoped objects.
      for (const namespace of grant.namespaces ?? ['*'])
        if (namespace !== '') scope.add(`${id}/${namespace}`);
    }
  }
  return [...scope];
}
