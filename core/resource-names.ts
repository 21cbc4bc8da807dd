/** Kinds and short names of built-in types, as `kubectl api-resources` lists them, to their resource. */
const NAMES: Record<string, string> = {};

const BUILT_IN: ReadonlyArray<readonly [resource: string, kind: string, ...short: string[]]> = [
  ['configmaps', 'ConfigMap', 'cm'],
  ['endpoints', 'Endpoints', 'ep'],
  ['events', 'Event', 'ev'],
  ['limitranges', 'LimitRange', 'limits'],
  ['namespaces', 'Namespace', 'ns'],
  ['nodes', 'Node', 'no'],
  ['persistentvolumeclaims', 'PersistentVolumeClaim', 'pvc'],
  ['persistentvolumes', 'PersistentVolume', 'pv'],
  ['pods', 'Pod', 'po'],
  ['podtemplates', 'PodTemplate'],
  ['replicationcontrollers', 'ReplicationController', 'rc'],
  ['resourcequotas', 'ResourceQuota', 'quota'],
  ['secrets', 'Secret'],
  ['serviceaccounts', 'ServiceAccount', 'sa'],
  ['services', 'Service', 'svc'],
  ['mutatingwebhookconfigurations', 'MutatingWebhookConfiguration'],
  ['validatingwebhookconfigurations', 'ValidatingWebhookConfiguration'],
  ['customresourcedefinitions', 'CustomResourceDefinition', 'crd', 'crds'],
  ['apiservices', 'APIService'],
  ['controllerrevisions', 'ControllerRevision'],
  ['daemonsets', 'DaemonSet', 'ds'],
  ['deployments', 'Deployment', 'deploy'],
  ['replicasets', 'ReplicaSet', 'rs'],
  ['statefulsets', 'StatefulSet', 'sts'],
  ['horizontalpodautoscalers', 'HorizontalPodAutoscaler', 'hpa'],
  ['cronjobs', 'CronJob', 'cj'],
  ['jobs', 'Job'],
  ['certificatesigningrequests', 'CertificateSigningRequest', 'csr'],
  ['leases', 'Lease'],
  ['endpointslices', 'EndpointSlice'],
  ['ingressclasses', 'IngressClass'],
  ['ingresses', 'Ingress', 'ing'],
  ['networkpolicies', 'NetworkPolicy', 'netpol'],
  ['runtimeclasses', 'RuntimeClass'],
  ['poddisruptionbudgets', 'PodDisruptionBudget', 'pdb'],
  ['clusterrolebindings', 'ClusterRoleBinding'],
  ['clusterroles', 'ClusterRole'],
  ['rolebindings', 'RoleBinding'],
  ['roles', 'Role'],
  ['priorityclasses', 'PriorityClass', 'pc'],
  ['csidrivers', 'CSIDriver'],
  ['csinodes', 'CSINode'],
  ['storageclasses', 'StorageClass', 'sc'],
  ['volumeattachments', 'VolumeAttachment'],
  ['applications', 'Application', 'app', 'apps'],
  ['applicationsets', 'ApplicationSet', 'appset'],
  ['kustomizations', 'Kustomization', 'ks'],
  ['helmreleases', 'HelmRelease', 'hr'],
  ['gitrepositories', 'GitRepository', 'gitrepo'],
];

for (const [resource, kind, ...short] of BUILT_IN) {
  for (const name of [resource, kind.toLowerCase(), ...short]) NAMES[name] = resource;
}

/**
 * The resource and group that a person means: `deploy`, `Deployment`, `deployments`, `deployments.apps`. A word that is
 * no built-in's is taken as a custom resource's plural, in lower case.
 */
export function resourceOf(word: string): { resource: string; group?: string } {
  const [name = '', ...group] = word.toLowerCase().split('.');
  const resource = Object.hasOwn(NAMES, name) ? NAMES[name]! : name;
  return group.length > 0 ? { resource, group: group.join('.') } : { resource };
}
