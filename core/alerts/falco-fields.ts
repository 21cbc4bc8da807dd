import type { Json } from '../audit-event.js';
import { eventField, type Field } from './fields.js';
import { valuesAt } from './matchable.js';

const CONTAINERS = 'requestObject.spec.containers';
const SECURITY = 'requestObject.spec.securityContext';

/** Where the fields of Falco's k8saudit plugin are in an audit event. */
const PATHS: Record<string, string> = {
  'ka.auditid': 'auditID',
  'ka.stage': 'stage',
  'ka.auth.decision': 'annotations.authorization.k8s.io/decision',
  'ka.auth.reason': 'annotations.authorization.k8s.io/reason',
  'ka.user.name': 'user.username',
  'ka.user.groups': 'user.groups',
  'ka.impuser.name': 'impersonatedUser.username',
  'ka.verb': 'verb',
  'ka.uri': 'requestURI',
  'ka.target.name': 'objectRef.name',
  'ka.target.namespace': 'objectRef.namespace',
  'ka.target.resource': 'objectRef.resource',
  'ka.target.subresource': 'objectRef.subresource',
  'ka.req.binding.subjects': 'requestObject.subjects',
  'ka.req.binding.role': 'requestObject.roleRef.name',
  'ka.req.configmap.name': 'objectRef.name',
  'ka.req.configmap.obj': 'requestObject.data',
  'ka.req.pod.containers.image': `${CONTAINERS}.image`,
  'ka.req.pod.host_ipc': 'requestObject.spec.hostIPC',
  'ka.req.pod.host_network': 'requestObject.spec.hostNetwork',
  'ka.req.pod.host_pid': 'requestObject.spec.hostPID',
  'ka.req.pod.containers.host_port': `${CONTAINERS}.ports.hostPort`,
  'ka.req.pod.containers.privileged': `${CONTAINERS}.securityContext.privileged`,
  'ka.req.pod.containers.allow_privilege_escalation': `${CONTAINERS}.securityContext.allowPrivilegeEscalation`,
  'ka.req.pod.containers.read_only_fs': `${CONTAINERS}.securityContext.readOnlyRootFilesystem`,
  'ka.req.pod.containers.run_as_user': `${CONTAINERS}.securityContext.runAsUser`,
  'ka.req.pod.containers.run_as_group': `${CONTAINERS}.securityContext.runAsGroup`,
  'ka.req.pod.containers.proc_mount': `${CONTAINERS}.securityContext.procMount`,
  'ka.req.pod.containers.add_capabilities': `${CONTAINERS}.securityContext.capabilities.add`,
  'ka.req.pod.run_as_user': `${SECURITY}.runAsUser`,
  'ka.req.pod.run_as_group': `${SECURITY}.runAsGroup`,
  'ka.req.pod.fs_group': `${SECURITY}.fsGroup`,
  'ka.req.pod.supplemental_groups': `${SECURITY}.supplementalGroups`,
  'ka.req.pod.volumes.hostpath': 'requestObject.spec.volumes.hostPath.path',
  'ka.req.role.rules': 'requestObject.rules',
  'ka.req.role.rules.apiGroups': 'requestObject.rules.apiGroups',
  'ka.req.role.rules.nonResourceURLs': 'requestObject.rules.nonResourceURLs',
  'ka.req.role.rules.verbs': 'requestObject.rules.verbs',
  'ka.req.role.rules.resources': 'requestObject.rules.resources',
  'ka.req.service.type': 'requestObject.spec.type',
  'ka.req.service.ports': 'requestObject.spec.ports',
  'ka.resp.name': 'responseObject.metadata.name',
  'ka.response.code': 'responseStatus.code',
  'ka.response.reason': 'responseStatus.reason',
  'ka.useragent': 'userAgent',
  'ka.sourceips': 'sourceIPs',
  'jevt.rawtime': 'requestReceivedTimestamp',
};

/**
 * A field of Falco's plugins k8saudit and json, such as `ka.verb`, `ka.uri.param[command]` and `jevt.value[/stage]`;
 * undefined: no such field here.
 */
export function falcoField(name: string): Field | undefined {
  const [, field = '', argument] = /^([a-z][a-zA-Z0-9_.]*)(?:\[(.*)\])?$/.exec(name) ?? [];
  if (argument !== undefined) {
    if (field === 'jevt.value' && argument.startsWith('/')) {
      const path = argument
        .slice(1)
        .split('/')
        .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
      return { ...eventField(path), read: ({ event }) => at(event, path) };
    }
    return field === 'ka.uri.param'
      ? { read: ({ event }) => parameter(event, argument), column: undefined, parts: [] }
      : undefined;
  }
  if (field === 'ka.req.pod.containers.image.repository') {
    const image = eventField(`${CONTAINERS}.image`.split('.'));
    return { ...image, read: (subject) => image.read(subject).map(repository) };
  }
  return Object.hasOwn(PATHS, field) ? eventField(PATHS[field]!.split('.')) : undefined;
}

/** RFC 6901. */
function at(value: Json | undefined, path: readonly string[]): Json[] {
  for (const part of path) {
    if (typeof value !== 'object' || value === null) return [];
    value = Array.isArray(value) ? value[Number(part)] : Object.hasOwn(value, part) ? value[part] : undefined;
  }
  return value === undefined || value === null ? [] : [value];
}

function parameter(event: Json, name: string): Json[] {
  const [uri] = valuesAt(event, ['requestURI']);
  if (typeof uri !== 'string' || !uri.includes('?')) return [];
  return new URLSearchParams(uri.slice(uri.indexOf('?') + 1)).getAll(name);
}

/** An image without its tag and digest. */
function repository(image: Json): Json {
  return typeof image === 'string' ? image.replace(/@.*$/, '').replace(/:[^/:]*$/, '') : image;
}
