/** Environments that are taken for production by their name, as the policy of verdicts calls them. */
const PRODUCTION = ['production', 'production-*', 'prod', 'prod-*'];
const SYSTEM_USERS = [
  'system:node:*',
  'system:kube-*',
  'system:apiserver',
  'system:serviceaccount:kube-system:*',
];

/** Rules that come with whochanged, as a file would have them. None is on unless `builtIn` names it. */
export const BUILT_IN_RULES: ReadonlyArray<Record<string, unknown>> = [
  {
    name: 'unapproved-in-production',
    title: 'A change to production without approval',
    severity: 'high',
    match: {
      'verdict.verdict': ['unapproved', 'self-approved', 'out-of-band'],
      'verdict.environment': PRODUCTION,
    },
    // Access is the rule exec-in-production's.
    except: { 'change.class': 'access' },
  },
  {
    name: 'break-glass-overdue',
    title: 'An emergency change that nobody reviewed in time',
    severity: 'high',
    match: { 'verdict.verdict': 'break-glass', 'verdict.reason': 'overdue' },
  },
  {
    name: 'cluster-admin-granted',
    title: 'Rights over the whole cluster were granted',
    severity: 'critical',
    match: [
      {
        'change.kind': 'rbac_grant',
        resource: ['clusterrolebindings', 'rolebindings'],
        'responseObject.roleRef.name': 'cluster-admin',
      },
      {
        'change.kind': 'rbac_grant',
        resource: ['clusterrolebindings', 'rolebindings'],
        'requestObject.roleRef.name': 'cluster-admin',
      },
      {
        'change.kind': 'rbac_grant',
        resource: 'clusterroles',
        'responseObject.rules.verbs': '\\*',
        'responseObject.rules.resources': '\\*',
      },
    ],
  },
  {
    name: 'exec-in-production',
    title: 'Interactive access to production',
    severity: 'high',
    match: { 'change.class': 'access', 'verdict.environment': PRODUCTION },
  },
  {
    name: 'secret-read-by-new-actor',
    title: 'Secrets were read by somebody who had not read any there',
    severity: 'medium',
    on: 'event',
    match: { class: 'secret_read' },
    except: { username: SYSTEM_USERS },
    newActor: '30d',
    key: ['cluster', 'namespace', 'username'],
    window: '1d',
  },
  {
    name: 'source-silent',
    title: 'A source has fallen silent',
    severity: 'high',
    on: 'source',
    silentFor: '10m',
  },
  {
    name: 'gap-found',
    title: 'Audit events are missing',
    severity: 'high',
    on: 'gap',
  },
];
