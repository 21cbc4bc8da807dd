import { Type } from 'typebox';
import {
  CHAIN_ROLES,
  type ChainName,
  identityChain,
  RESOLVED_BY,
} from '../core/identity-map/identity-chain.js';
import type { ChangeRow } from '../store/queries/change-rows.js';
import { findChange } from '../store/queries/changes.js';
import { commitKey } from '../store/queries/commit-approvals.js';
import { findCommits } from '../store/queries/commits.js';
import type { VerdictRow } from '../store/queries/verdicts.js';
import { words } from './change-schema.js';
import type { ApiDeps } from './deps.js';

export const ChainNameSchema = Type.Object({
  role: words(CHAIN_ROLES),
  name: Type.String({ description: 'as the system that told it writes it' }),
  controller: Type.Optional(
    Type.String({ description: 'the controller or pipeline that the account is registered for' }),
  ),
  serviceAccount: Type.Optional(Type.Object({ namespace: Type.String(), name: Type.String() })),
  person: Type.Optional(
    Type.Object(
      {
        id: Type.String(),
        name: Type.Optional(Type.String()),
        kind: words(['human', 'bot']),
        by: words(RESOLVED_BY),
      },
      { description: 'in the mapping of identities; not there: whose it is is not known' },
    ),
  ),
});

/** Of a verdict's commits, whose people are told. */
const MOST_COMMITS = 20;

/** Who was behind a change: the user, what set it off, who asked for the sync, the people of its commits. */
export async function findPeopleBehind(
  { db, pool, identities, judging }: Pick<ApiDeps, 'db' | 'pool' | 'identities' | 'judging'>,
  row: ChangeRow,
  verdict: VerdictRow | undefined,
): Promise<ChainName[]> {
  const commits = (verdict?.document.commits ?? []).slice(0, MOST_COMMITS);
  const content = row.content_change_id === null ? undefined : await findChange(db, row.content_change_id);
  const known = await findCommits(pool, commits);
  const { policy } = await judging.policy();
  return identityChain(
    {
      cluster: row.cluster,
      user: {
        username: row.username,
        ...(row.groups && { groups: row.groups }),
        ...(row.extra && { extra: row.extra }),
      },
      impersonated: row.impersonated_username ?? undefined,
      contentAuthor: content?.username,
      trigger: row.trigger_username ?? undefined,
      initiator: verdict?.document.initiator?.username,
      commits: commits.flatMap((commit) => known.get(commitKey(commit)) ?? []),
      approvers: commits.flatMap(({ approvers }) => approvers),
    },
    policy,
    identities,
  );
}
