/** What an operator wants the ledger to be able to tell. Each costs volume, or carries values further. */
export interface AuditNeeds {
  /**
   * `metadata`: who wrote which Secret. `keys`: also which of its keys changed; values then travel to whochanged, which
   * puts keyed digests in their place.
   */
  secrets: 'metadata' | 'keys';
  /** `metadata`: who wrote which ConfigMap, and not what. */
  configMaps: 'metadata' | 'fields';
  /** `all`, `secrets` (and failed logins, and interactive access), or `people`: all but what nodes and the control plane read. */
  reads: 'all' | 'people' | 'secrets';
  /** The status that kubelets report of their pods: four or five writes for each new pod. */
  podStatus: boolean;
  /** Half of many bodies; without it server-side applies are told from less. Needs Kubernetes 1.23. */
  managedFields: boolean;
}

export const DEFAULT_NEEDS: AuditNeeds = {
  secrets: 'metadata',
  configMaps: 'fields',
  reads: 'people',
  podStatus: true,
  managedFields: true,
};

const WRITES = '[create, update, patch, delete, deletecollection]';

/**
 * The audit policy for these needs, as YAML (audit.k8s.io/v1 Policy, kubernetes.io/docs/tasks/debug/debug-cluster/audit).
 * The first rule that matches decides, so what is left out comes first. `RequestReceived` is kept for writes: it is the
 * only trace of one that the apiserver dies in.
 */
export function auditPolicy(needs: AuditNeeds): string {
  const rules = [
    noise(),
    needs.reads === 'all' ? '' : controlPlaneReads(),
    nodeStatus(needs.podStatus),
    confidential(needs),
    access(),
    writes(),
    needs.reads === 'secrets' ? secretReads() : everythingElse(),
  ];
  return `# Made by \`whochanged audit-policy\`. Give it to the kube-apiserver with --audit-policy-file.
apiVersion: audit.k8s.io/v1
kind: Policy
${needs.managedFields ? '' : 'omitManagedFields: true\n'}rules:
${rules.filter((text) => text !== '').join('\n')}`;
}

function noise(): string {
  return `  # Leader election, heartbeats, core Events, health checks, discovery, questions about rights.
  - level: None
    resources:
      - {group: coordination.k8s.io, resources: [leases]}
  - level: None
    resources:
      - {group: "", resources: [events]}
      - {group: events.k8s.io, resources: [events]}
  - level: None
    nonResourceURLs: ["/healthz*", "/livez*", "/readyz*", "/version", "/metrics", "/openapi/*", "/swagger*"]
  - level: None
    userGroups: ["system:authenticated"]
    nonResourceURLs: ["/api", "/api/*", "/apis", "/apis/*"]
  - level: None
    verbs: [create]
    resources:
      - {group: authorization.k8s.io, resources: [subjectaccessreviews, selfsubjectaccessreviews, localsubjectaccessreviews, selfsubjectrulesreviews]}
      - {group: authentication.k8s.io, resources: [tokenreviews, selfsubjectreviews]}
`;
}

function controlPlaneReads(): string {
  return `  # What nodes and the control plane read.
  - level: None
    userGroups: ["system:nodes"]
    verbs: [get, list, watch]
  - level: None
    users:
      - system:apiserver
      - system:kube-controller-manager
      - system:kube-scheduler
      - system:kube-proxy
    verbs: [get, list, watch]
`;
}

function nodeStatus(podStatus: boolean): string {
  return `  # Status that nodes report. Left out whole, never at Metadata: a write without content makes the rest doubtful.
  - level: None
    userGroups: ["system:nodes"]
    resources:
      - {group: "", resources: [${podStatus ? 'nodes/status' : 'nodes/status, pods/status'}]}
`;
}

function confidential({ secrets, configMaps }: AuditNeeds): string {
  const resources = [
    ...(secrets === 'metadata' ? ['secrets'] : []),
    ...(configMaps === 'metadata' ? ['configmaps'] : []),
  ];
  const byMetadata =
    resources.length === 0
      ? ''
      : `  # Who wrote it and when, not what.
  - level: Metadata
    verbs: ${WRITES}
    resources:
      - {group: "", resources: [${resources.join(', ')}]}
`;
  return `${byMetadata}  # The answer to a token request holds a live token.
  - level: Metadata
    resources:
      - {group: "", resources: [serviceaccounts/token]}
`;
}

function access(): string {
  return `  # Access to running workloads. No filter on verbs: since Kubernetes 1.30 an exec is a "get".
  - level: Metadata
    resources:
      - {group: "", resources: [pods/exec, pods/attach, pods/portforward, pods/proxy, services/proxy, nodes/proxy]}
`;
}

function writes(): string {
  return `  # Every other write, with what was asked and what came of it.
  - level: RequestResponse
    verbs: ${WRITES}
`;
}

function secretReads(): string {
  return `  # Reads of Secrets, and failed logins, which have no verb of their own to be told by.
  - level: Metadata
    verbs: [get, list, watch]
    resources:
      - {group: "", resources: [secrets]}
    omitStages: [RequestReceived]
  - level: None
    userGroups: ["system:authenticated"]
    verbs: [get, list, watch]
  - level: Metadata
    omitStages: [RequestReceived]
`;
}

function everythingElse(): string {
  return `  # Everything else without bodies: reads, refused and failed requests, failed logins.
  - level: Metadata
    omitStages: [RequestReceived]
`;
}
