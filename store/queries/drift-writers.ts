import { sql } from 'kysely';
import type { DriftChange } from '../../core/drift/drift.js';
import { parseMicros } from '../../core/timestamp.js';

/** Who made the change `c`, for a select list; WRITERS joins it. */
export const WRITER = sql`u.username, i.username as impersonated_username`;
export const WRITERS = sql`
  left join lateral (select username from users where cluster_id = c.cluster_id and id = c.user_id limit 1) u on true
  left join lateral (select username from users where cluster_id = c.cluster_id and id = c.impersonated_user_id limit 1) i on true`;

/** The kinds of the engines' own objects. */
export const KEYS = {
  argocd: { apiGroup: 'argoproj.io', resource: 'applications' },
  flux: { apiGroup: 'kustomize.toolkit.fluxcd.io', resource: 'kustomizations' },
  helm: { apiGroup: 'helm.toolkit.fluxcd.io', resource: 'helmreleases' },
} as const;

export interface WriterRow {
  change_id: string;
  at: string;
  username: string | null;
  impersonated_username: string | null;
}

export function changeOf(row: WriterRow): DriftChange {
  return {
    changeID: row.change_id,
    at: parseMicros(row.at)!,
    username: row.username ?? '',
    ...(row.impersonated_username !== null && { impersonatedUser: row.impersonated_username }),
  };
}
