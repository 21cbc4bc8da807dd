import type { Grant } from '../../core/access/grants.js';

/** What clusters and namespaces a grant is bound to, as CLUSTERS/NAMESPACES; empty for one that reaches everything. */
export function boundsText({ clusters, namespaces }: Pick<Grant, 'clusters' | 'namespaces'>): string {
  return [clusters?.join(',') ?? (namespaces ? '*' : ''), namespaces?.join(',') ?? '']
    .filter(Boolean)
    .join('/');
}
