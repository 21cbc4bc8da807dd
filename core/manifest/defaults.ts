import type { Json, JsonObject } from '../audit-event.js';
import { deepEqual } from '../diff/diff.js';

/** Whether a value is what the API server puts there when nothing was said. `holder` is the object it stands in. */
type Default = (value: Json, holder: JsonObject) => boolean;

const is =
  (...values: Json[]): Default =>
  (value) =>
    values.some((known) => deepEqual(known, value));
/** Allotted by the cluster: whatever it is. */
const any: Default = () => true;
const sameAs =
  (field: string): Default =>
  (value, holder) =>
    holder[field] !== undefined && deepEqual(holder[field], value);

/** SetDefaults_Container: Always for the tag latest or none, unless a digest is named. */
const pullPolicy: Default = (value, holder) => {
  const image = typeof holder.image === 'string' ? holder.image : '';
  const name = image.slice(image.lastIndexOf('/') + 1);
  const latest = !image.includes('@') && (!name.includes(':') || name.endsWith(':latest'));
  return value === (latest ? 'Always' : 'IfNotPresent');
};

const PROBES = ['livenessProbe', 'readinessProbe', 'startupProbe'];
const HANDLERS = [...PROBES, 'lifecycle.postStart', 'lifecycle.preStop'];

/** pkg/apis/core/v1/defaults.go; and what the built-in admission plugins ServiceAccount, Priority and others add to pods. */
const POD_SPEC: Record<string, Default> = {
  restartPolicy: is('Always'),
  dnsPolicy: is('ClusterFirst'),
  schedulerName: is('default-scheduler'),
  securityContext: is({}),
  terminationGracePeriodSeconds: is(30),
  enableServiceLinks: is(true),
  serviceAccount: sameAs('serviceAccountName'),
  'volumes[*].configMap.defaultMode': is(420),
  'volumes[*].secret.defaultMode': is(420),
  'volumes[*].projected.defaultMode': is(420),
  'volumes[*].downwardAPI.defaultMode': is(420),
  'volumes[*].downwardAPI.items[*].fieldRef.apiVersion': is('v1'),
  'volumes[*].projected.sources[*].downwardAPI.items[*].fieldRef.apiVersion': is('v1'),
  'volumes[*].projected.sources[*].serviceAccountToken.expirationSeconds': is(3600),
  'volumes[*].hostPath.type': is(''),
  'volumes[*].emptyDir': is({}),
  'topologySpreadConstraints[*].nodeAffinityPolicy': is('Honor'),
  'topologySpreadConstraints[*].nodeTaintsPolicy': is('Ignore'),
};
for (const list of ['containers[*]', 'initContainers[*]', 'ephemeralContainers[*]']) {
  Object.assign(POD_SPEC, {
    [`${list}.imagePullPolicy`]: pullPolicy,
    [`${list}.terminationMessagePath`]: is('/dev/termination-log'),
    [`${list}.terminationMessagePolicy`]: is('File'),
    [`${list}.resources`]: is({}),
    [`${list}.ports[*].protocol`]: is('TCP'),
    [`${list}.env[*].valueFrom.fieldRef.apiVersion`]: is('v1'),
    [`${list}.env[*].valueFrom.resourceFieldRef.divisor`]: is('0'),
  });
  for (const probe of PROBES) {
    Object.assign(POD_SPEC, {
      [`${list}.${probe}.timeoutSeconds`]: is(1),
      [`${list}.${probe}.periodSeconds`]: is(10),
      [`${list}.${probe}.successThreshold`]: is(1),
      [`${list}.${probe}.failureThreshold`]: is(3),
      [`${list}.${probe}.grpc.service`]: is(''),
    });
  }
  for (const handler of HANDLERS) {
    POD_SPEC[`${list}.${handler}.httpGet.scheme`] = is('HTTP');
    POD_SPEC[`${list}.${handler}.httpGet.path`] = is('/');
  }
}
/** A request that was not given is the limit (SetDefaults_ResourceRequirements). */
const REQUESTS = /^(?:containers|initContainers)\[\*\]\.resources\.requests$/;

const CLAIM: Record<string, Default> = {
  'spec.volumeMode': is('Filesystem'),
  'spec.storageClassName': any,
  'spec.volumeName': any,
};

/** By kind: pkg/apis/{apps,batch,core,networking,autoscaling,rbac}/v1/defaults.go and the registries' allocations. */
const BY_KIND: Record<string, Record<string, Default>> = {
  Deployment: {
    'spec.replicas': is(1),
    'spec.revisionHistoryLimit': is(10),
    'spec.progressDeadlineSeconds': is(600),
    'spec.strategy.type': is('RollingUpdate'),
    'spec.strategy.rollingUpdate.maxSurge': is('25%'),
    'spec.strategy.rollingUpdate.maxUnavailable': is('25%'),
  },
  StatefulSet: {
    'spec.replicas': is(1),
    'spec.revisionHistoryLimit': is(10),
    'spec.podManagementPolicy': is('OrderedReady'),
    'spec.updateStrategy.type': is('RollingUpdate'),
    'spec.updateStrategy.rollingUpdate.partition': is(0),
    'spec.persistentVolumeClaimRetentionPolicy.whenDeleted': is('Retain'),
    'spec.persistentVolumeClaimRetentionPolicy.whenScaled': is('Retain'),
    'spec.volumeClaimTemplates[*].apiVersion': is('v1'),
    'spec.volumeClaimTemplates[*].kind': is('PersistentVolumeClaim'),
    'spec.volumeClaimTemplates[*].spec.volumeMode': is('Filesystem'),
    'spec.volumeClaimTemplates[*].status.phase': is('Pending'),
    'spec.volumeClaimTemplates[*].metadata.creationTimestamp': is(null),
  },
  DaemonSet: {
    'spec.revisionHistoryLimit': is(10),
    'spec.updateStrategy.type': is('RollingUpdate'),
    'spec.updateStrategy.rollingUpdate.maxUnavailable': is(1),
    'spec.updateStrategy.rollingUpdate.maxSurge': is(0),
  },
  ReplicaSet: { 'spec.replicas': is(1) },
  Job: {
    'spec.backoffLimit': is(6),
    'spec.completions': is(1),
    'spec.parallelism': is(1),
    'spec.completionMode': is('NonIndexed'),
    'spec.suspend': is(false),
    'spec.manualSelector': is(false),
    'spec.podReplacementPolicy': is('TerminatingOrFailed', 'Failed'),
  },
  CronJob: {
    'spec.concurrencyPolicy': is('Allow'),
    'spec.suspend': is(false),
    'spec.successfulJobsHistoryLimit': is(3),
    'spec.failedJobsHistoryLimit': is(1),
  },
  Service: {
    'spec.type': is('ClusterIP'),
    'spec.sessionAffinity': is('None'),
    'spec.sessionAffinityConfig.clientIP.timeoutSeconds': is(10_800),
    'spec.internalTrafficPolicy': is('Cluster'),
    'spec.externalTrafficPolicy': is('Cluster'),
    'spec.allocateLoadBalancerNodePorts': is(true),
    'spec.ipFamilyPolicy': is('SingleStack'),
    'spec.ipFamilies': any,
    'spec.clusterIP': any,
    'spec.clusterIPs': any,
    'spec.ports[*].protocol': is('TCP'),
    'spec.ports[*].targetPort': sameAs('port'),
    'spec.ports[*].nodePort': any,
    'spec.healthCheckNodePort': any,
  },
  PersistentVolumeClaim: CLAIM,
  NetworkPolicy: {
    'spec.policyTypes': is(['Ingress'], ['Ingress', 'Egress']),
    'spec.ingress[*].ports[*].protocol': is('TCP'),
    'spec.egress[*].ports[*].protocol': is('TCP'),
  },
  HorizontalPodAutoscaler: { 'spec.minReplicas': is(1) },
  Secret: { type: is('Opaque') },
  RoleBinding: {
    'roleRef.apiGroup': is('rbac.authorization.k8s.io'),
    'subjects[*].apiGroup': is('rbac.authorization.k8s.io'),
  },
  ClusterRoleBinding: {
    'roleRef.apiGroup': is('rbac.authorization.k8s.io'),
    'subjects[*].apiGroup': is('rbac.authorization.k8s.io'),
  },
  Namespace: {
    'spec.finalizers': is(['kubernetes']),
    'metadata.labels["kubernetes.io/metadata.name"]': any,
  },
  CustomResourceDefinition: {
    'spec.conversion.strategy': is('None'),
    'spec.names.listKind': any,
    'spec.names.singular': any,
    'spec.preserveUnknownFields': is(false),
  },
};

/** Where the kinds that make pods hold the pod's spec. */
const POD_SPEC_AT: Record<string, string> = {
  Pod: 'spec',
  Deployment: 'spec.template.spec',
  StatefulSet: 'spec.template.spec',
  DaemonSet: 'spec.template.spec',
  ReplicaSet: 'spec.template.spec',
  ReplicationController: 'spec.template.spec',
  Job: 'spec.template.spec',
  CronJob: 'spec.jobTemplate.spec.template.spec',
};

/** The groups whose kinds the tables speak of: another group may have a Service of its own. */
const BUILT_IN_GROUP = /^$|^(apps|batch|autoscaling|policy)$|\.k8s\.io$/;

/**
 * Whether a field that nobody gave holds what the API server gives it, for kinds that are built in. Custom resources'
 * defaults stand in their CRD and are not known here.
 * @param pattern its path with `[*]` for every list item
 * @param holder the object that the field stands in
 */
export function isDefault(
  type: { apiGroup: string; kind: string },
  pattern: string,
  value: Json,
  holder: JsonObject,
): boolean {
  if (!BUILT_IN_GROUP.test(type.apiGroup)) return false;
  const own = BY_KIND[type.kind];
  if (own && Object.hasOwn(own, pattern)) return own[pattern]!(value, holder);
  const at = POD_SPEC_AT[type.kind];
  if (at === undefined) return false;
  if (pattern.startsWith(`${at.slice(0, -'spec'.length)}metadata.creationTimestamp`)) return value === null;
  if (!pattern.startsWith(`${at}.`)) return false;
  const inPod = pattern.slice(at.length + 1);
  if (REQUESTS.test(inPod)) return deepEqual(holder.limits ?? null, value);
  return Object.hasOwn(POD_SPEC, inPod) && POD_SPEC[inPod]!(value, holder);
}
