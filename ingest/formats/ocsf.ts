import { MAX_DEPTH } from '../../core/decode.js';
import { isNestedDeeper, parseJson } from '../../core/parse-json.js';
import { refOfPath } from '../../core/request-path.js';
import { readTextLine } from './audit-log.js';
import {
  event,
  type FormatDefinition,
  isObject,
  type Loose,
  type ParsedRecord,
  problem,
  skipped,
  stringOf,
} from './format-reader.js';
import type { Item } from './item.js';
import { INFERRED } from './salvage.js';

const API_ACTIVITY = 6003;

/**
 * OCSF API Activity (class 6003) as Amazon Security Lake and CloudWatch's parseToOCSF make it of EKS audit logs, in JSON:
 * one record a line or in a list. The mapping is AWS's own (github.com/ocsf/examples, mappings/markdown/AWS, "EKS Audit
 * Logs", for 1.1.0 and 1.5.0), read backwards. 1.5.0 has the bodies as text in `api.request.data` and
 * `api.response.data`; 1.1.0 has them flattened in `unmapped`, from where no object can be put together again.
 */
export const ocsf: FormatDefinition = {
  claims: ({ value }) => isObject(value) && typeof value.class_uid === 'number' && isObject(value.metadata),
  open: () => ({
    *read(record) {
      yield record.type === 'text' ? readTextLine(record) : readActivity(record);
    },
  }),
};

function readActivity(record: ParsedRecord): Item {
  const { value } = record;
  if (!isObject(value) || typeof value.class_uid !== 'number') return problem('not_an_audit_event', record);
  if (value.class_uid !== API_ACTIVITY) return skipped('other_class', record);
  const product = at(value, 'metadata', 'product');
  const kubernetes =
    at(product, 'name') === 'Amazon EKS' || String(at(product, 'version')).startsWith('audit.k8s.io/');
  return kubernetes ? event(eventOfActivity(value), record) : skipped('other_service', record);
}

/** What stands under these names, one within the other. */
function at(value: unknown, ...names: string[]): unknown {
  let found = value;
  for (const name of names) found = isObject(found) ? found[name] : undefined;
  return found;
}

function eventOfActivity(activity: Loose): Loose {
  const unmapped = isObject(activity.unmapped) ? activity.unmapped : {};
  const requestURI = uriOf(activity);
  const resource = at(activity, 'resources') as unknown;
  const first = Array.isArray(resource) && isObject(resource[0]) ? resource[0] : {};
  const requestObject = bodyOf(at(activity, 'api', 'request', 'data'));
  const responseObject = bodyOf(at(activity, 'api', 'response', 'data'));
  const lost = (['request', 'response'] as const).flatMap((side) => {
    const name = `${side}Object`;
    const read = side === 'request' ? requestObject : responseObject;
    const told =
      at(activity, 'api', side, 'data') ?? Object.keys(unmapped).find((key) => key.startsWith(`${name}.`));
    return read === undefined && told !== undefined ? [name] : [];
  });
  const impersonated = stringOf(unmapped['impersonatedUser.username']);
  const sourceIPs = [
    at(activity, 'src_endpoint', 'ip'),
    ...listOf(at(activity, 'src_endpoint', 'intermediate_ips')),
  ];
  return {
    kind: 'Event',
    apiVersion: at(activity, 'metadata', 'product', 'version'),
    level: at(activity, 'metadata', 'log_level'),
    auditID: at(activity, 'api', 'request', 'uid'),
    stage: activity.message,
    requestURI,
    verb: at(activity, 'api', 'operation'),
    user: userOf(activity),
    ...(impersonated && { impersonatedUser: { username: impersonated } }),
    sourceIPs: sourceIPs.filter((ip) => typeof ip === 'string'),
    userAgent: at(activity, 'http_request', 'user_agent'),
    objectRef: refOf(activity, first, requestURI),
    responseStatus: {
      code: at(activity, 'api', 'response', 'code'),
      message: at(activity, 'api', 'response', 'message'),
      reason: at(activity, 'api', 'response', 'error'),
      status: at(activity, 'api', 'response', 'error_message'),
    },
    requestObject,
    responseObject,
    requestReceivedTimestamp:
      activity.start_time_dt ?? secondsOf(activity.start_time) ?? secondsOf(activity.time),
    stageTimestamp: activity.time_dt ?? secondsOf(activity.time),
    annotations: annotationsOf(activity, unmapped, lost),
  };
}

function uriOf(activity: Loose): string | undefined {
  const path = stringOf(at(activity, 'http_request', 'url', 'path'));
  const query = stringOf(at(activity, 'http_request', 'url', 'query_string'));
  return path && query && !path.includes('?') ? `${path}?${query.replace(/^\?/, '')}` : path;
}

/** resources[].type joins resource and subresource in a way that can't be undone; the path tells them apart. */
function refOf(activity: Loose, resource: Loose, requestURI: string | undefined): Loose | undefined {
  const ref = requestURI === undefined ? undefined : refOfPath(requestURI);
  if (!ref) return undefined;
  return {
    ...ref,
    namespace: resource.namespace ?? ref.namespace,
    name: resource.name ?? ref.name,
    uid: resource.uid,
    resourceVersion: resource.version,
    apiGroup: at(activity, 'api', 'group', 'name') ?? ref.apiGroup,
    apiVersion: at(activity, 'api', 'version') ?? ref.apiVersion,
  };
}

function userOf(activity: Loose): Loose {
  const user = at(activity, 'actor', 'user');
  const groups = listOf(at(user, 'groups')).map((group) => at(group, 'name'));
  const extra = {
    accessKeyId: at(activity, 'actor', 'session', 'credential_uid'),
    arn: at(activity, 'cloud', 'account', 'uid'),
    canonicalArn: at(activity, 'actor', 'session', 'issuer'),
    principalId: at(user, 'uid_alt'),
    sessionName: at(activity, 'actor', 'session', 'uid'),
  };
  return {
    username: at(user, 'name'),
    uid: at(user, 'uid'),
    groups: groups.filter((group) => typeof group === 'string'),
    extra: Object.fromEntries(
      Object.entries(extra).flatMap(([key, item]) => (stringOf(item) ? [[key, [item]]] : [])),
    ),
  };
}

function annotationsOf(activity: Loose, unmapped: Loose, lost: string[]): Loose {
  const annotations: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(unmapped))
    if (key.startsWith('annotations.') && typeof item === 'string')
      annotations[key.slice('annotations.'.length)] = item;
  const reason = stringOf(at(activity, 'policy', 'name'));
  if (reason) annotations['authorization.k8s.io/reason'] ??= reason;
  if (lost.length > 0) annotations['whochanged/lost'] = lost.join(',');
  annotations[INFERRED] = 'objectRef';
  return annotations;
}

function bodyOf(data: unknown): unknown {
  if (typeof data !== 'string') return data ?? undefined;
  try {
    const body = parseJson(data);
    return isNestedDeeper(body, MAX_DEPTH) ? undefined : body;
  } catch {
    // The lake may cut it; half a body is none.
    return undefined;
  }
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

/** OCSF's timestamp_t is milliseconds. */
function secondsOf(value: unknown): number | undefined {
  return typeof value === 'number' ? value / 1000 : undefined;
}
