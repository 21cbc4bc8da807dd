import { parseMicros } from '../timestamp.js';
import type { ReportRow } from './report.js';

/** Of a member of a population, what its event says and a report's row doesn't. */
export interface RowOrigin {
  verb: string;
  code: number | null;
  apiGroup: string;
  apiVersion: string | null;
  resource: string;
  subresource: string | null;
  name: string;
  username: string;
  impersonatedUsername: string | null;
  /** As the event lists them: the last is who really connected. */
  sourceIPs: string[] | null;
  userAgent: string | null;
  auditID: string;
  requestURI: string;
}

const CLASS = 6003;
const CATEGORY = 6;
const OCSF_VERSION = '1.5.0';
const ACTIVITIES: Record<string, readonly [id: number, name: string]> = {
  create: [1, 'Create'],
  get: [2, 'Read'],
  list: [2, 'Read'],
  watch: [2, 'Read'],
  update: [3, 'Update'],
  patch: [3, 'Update'],
  delete: [4, 'Delete'],
  deletecollection: [4, 'Delete'],
};
const OTHER = 99;

/**
 * A member of a population as an OCSF API Activity (schema.ocsf.io, class 6003, 1.5.0). There is no profile for
 * Kubernetes: what has no attribute there stands in `unmapped`. An address or a user that no event told is called unknown,
 * since `src_endpoint` and an actor are required.
 */
export function apiActivity(row: ReportRow, origin: RowOrigin, productVersion: string): object {
  const [activity, name] = ACTIVITIES[origin.verb] ?? [OTHER, origin.verb];
  const ips = origin.sourceIPs ?? [];
  const peer = ips.at(-1);
  const before = ips.slice(0, -1);
  return {
    activity_id: activity,
    activity_name: name,
    category_uid: CATEGORY,
    category_name: 'Application Activity',
    class_uid: CLASS,
    class_name: 'API Activity',
    type_uid: CLASS * 100 + activity,
    type_name: `API Activity: ${name}`,
    severity_id: row.exception ? 3 : 1,
    severity: row.exception ? 'Medium' : 'Informational',
    time: Math.floor(parseMicros(row.at)! / 1000),
    message: row.summary,
    ...(origin.code !== null && {
      status_id: origin.code < 400 ? 1 : 2,
      status: origin.code < 400 ? 'Success' : 'Failure',
      status_code: String(origin.code),
    }),
    metadata: {
      version: OCSF_VERSION,
      uid: row.id,
      product: { name: 'whochanged', vendor_name: 'whochanged', version: productVersion },
      original_time: row.at,
      event_code: origin.auditID,
    },
    // Who really asked; as whom stands in `unmapped`.
    actor: { user: { name: origin.username || 'unknown' } },
    api: {
      operation: origin.verb,
      service: { name: 'kube-apiserver' },
      version: [origin.apiGroup, origin.apiVersion].filter(Boolean).join('/') || 'v1',
      request: { uid: origin.auditID },
      ...(origin.code !== null && { response: { code: origin.code } }),
    },
    src_endpoint: {
      ...(peer === undefined ? { name: 'unknown' } : { ip: peer }),
      ...(before.length > 0 && { intermediate_ips: before }),
    },
    ...(origin.userAgent !== null && {
      http_request: { user_agent: origin.userAgent, url: urlOf(origin.requestURI) },
    }),
    resources: [
      {
        name: origin.name || row.object || 'unknown',
        type: [origin.resource, origin.subresource].filter(Boolean).join('/') || 'unknown',
        ...(row.namespace !== '' && { namespace: row.namespace }),
        group: { name: origin.apiGroup || 'core' },
      },
    ],
    unmapped: {
      cluster: row.cluster,
      change: row.id,
      exception: row.exception,
      ...(row.verdict !== undefined && { verdict: row.verdict }),
      ...(row.detail !== undefined && { verdict_detail: row.detail }),
      ...(row.commits !== undefined && { commits: row.commits }),
      ...(row.approvers !== undefined && { approvers: row.approvers }),
      ...(origin.impersonatedUsername !== null && { impersonated_user: origin.impersonatedUsername }),
    },
  };
}

/** A request URI in OCSF's parts: its `path` has no query. */
function urlOf(requestURI: string): { path: string; query_string?: string } {
  const mark = requestURI.indexOf('?');
  if (mark < 0) return { path: requestURI };
  return { path: requestURI.slice(0, mark), query_string: requestURI.slice(mark + 1) };
}
