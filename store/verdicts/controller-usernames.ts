import type { ClientBase } from 'pg';
import type { Policy } from '../../core/verdict/policy.js';

/** The users that the policy registers as GitOps controllers: those whose records of syncs count. */
export async function controllerUsernames(client: ClientBase, policy: Policy): Promise<string[]> {
  const patterns = policy.actors
    .filter(({ kind }) => kind === 'argocd' || kind === 'flux')
    .flatMap(({ users }) => users);
  const exact = patterns.filter((pattern) => !pattern.includes('*'));
  const wild = patterns.filter((pattern) => pattern.includes('*'));
  if (wild.length === 0) return exact;
  const { rows } = await client.query<{ username: string }>(
    'select distinct username from users where username like any($1::text[])',
    [wild.map((pattern) => pattern.replace(/[\\%_]/g, '\\$&').replaceAll('*', '%'))],
  );
  return [...exact, ...rows.map((row) => row.username)];
}
