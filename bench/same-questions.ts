import { before } from './asked.js';

/** Where and when a sample asks. */
export interface Place {
  namespace: string;
  /** RFC 3339. */
  at: string;
  auditID: string;
}

/** One question, as each of those that hold the same events is asked it. */
export interface SameQuestion {
  name: string;
  /** The path of whochanged's API. */
  path(place: Place): string;
  /** What a table `naive (event jsonb)` with a GIN index is asked: the member that the index finds, and what is left to look at. */
  naive(place: Place): { contains: object; where?: string; select?: string; limit?: number };
  /** What DuckDB's table is asked. */
  duckdb(place: Place): { where: string; select?: string; limit?: number };
  /** What lines of the gzipped log hold, and what jq then picks. */
  grep(place: Place): { words: string; select: string };
}

const JSONB_WRITES = `event->>'verb' in ('create', 'update', 'patch', 'delete', 'deletecollection') and (event->'responseStatus'->>'code')::int < 300`;
const DUCKDB_WRITES = `verb in ('create', 'update', 'patch', 'delete', 'deletecollection') and stage = 'ResponseComplete' and (responseStatus->>'code')::int < 300`;
const JQ_WRITES =
  '(.verb | IN("create", "update", "patch", "delete", "deletecollection")) and .stage == "ResponseComplete" and .responseStatus.code < 300';
const WEB = { resource: 'deployments', name: 'web' };

const jsonbTime = (since: string | undefined, until: string) =>
  `${since ? `event->>'requestReceivedTimestamp' >= '${since}' and ` : ''}event->>'requestReceivedTimestamp' < '${until}'`;
const duckdbTime = (since: string | undefined, until: string) =>
  `${since ? `requestReceivedTimestamp >= '${since}'::timestamp and ` : ''}requestReceivedTimestamp < '${until}'::timestamp`;
const jqTime = (since: string | undefined, until: string) =>
  `${since ? `.requestReceivedTimestamp >= "${since}" and ` : ''}.requestReceivedTimestamp < "${until}"`;
const duckdbWeb = (namespace: string) =>
  `(objectRef->>'resource') = 'deployments' and (objectRef->>'name') = 'web' and (objectRef->>'namespace') = '${namespace}'`;
const jqWeb = (namespace: string) =>
  `.objectRef.resource == "deployments" and .objectRef.name == "web" and .objectRef.namespace == "${namespace}"`;

const IMAGES = '{spec,template,spec,containers,0,image}';

/** Of what users ask, that which the other stores can be asked too: they know of no diffs, causes, commits or approvals. */
export const SAME_QUESTIONS: readonly SameQuestion[] = [
  {
    name: 'the newest changes',
    path: () => '/v1/changes',
    naive: () => ({ contains: { stage: 'ResponseComplete' }, where: JSONB_WRITES }),
    duckdb: () => ({ where: DUCKDB_WRITES }),
    grep: () => ({ words: '"stage":"ResponseComplete"', select: JQ_WRITES }),
  },
  {
    name: '30 minutes of a namespace',
    path: ({ namespace, at }) => `/v1/changes?namespace=${namespace}&since=${before(at, 30)}&until=${at}`,
    naive: ({ namespace, at }) => ({
      contains: { stage: 'ResponseComplete', objectRef: { namespace } },
      where: `${JSONB_WRITES} and ${jsonbTime(before(at, 30), at)}`,
    }),
    duckdb: ({ namespace, at }) => ({
      where: `(objectRef->>'namespace') = '${namespace}' and ${DUCKDB_WRITES} and ${duckdbTime(before(at, 30), at)}`,
    }),
    grep: ({ namespace, at }) => ({
      words: `"namespace":"${namespace}"`,
      select: `.objectRef.namespace == "${namespace}" and ${JQ_WRITES} and ${jqTime(before(at, 30), at)}`,
    }),
  },
  {
    name: 'history of a Deployment',
    path: ({ namespace }) => `/v1/objects/default/apps/deployments/${namespace}/web/history`,
    naive: ({ namespace }) => ({
      contains: { stage: 'ResponseComplete', objectRef: { ...WEB, namespace } },
      where: JSONB_WRITES,
    }),
    duckdb: ({ namespace }) => ({ where: `${duckdbWeb(namespace)} and ${DUCKDB_WRITES}` }),
    grep: ({ namespace }) => ({
      words: `"namespace":"${namespace}"`,
      select: `${jqWeb(namespace)} and ${JQ_WRITES}`,
    }),
  },
  {
    name: 'its state at a time',
    path: ({ namespace, at }) => `/v1/objects/default/apps/deployments/${namespace}/web/state?at=${at}`,
    naive: ({ namespace, at }) => ({
      contains: { stage: 'ResponseComplete', objectRef: { ...WEB, namespace } },
      where: `${JSONB_WRITES} and event ? 'responseObject' and ${jsonbTime(undefined, at)}`,
      select: `event->'responseObject'`,
      limit: 1,
    }),
    duckdb: ({ namespace, at }) => ({
      where: `${duckdbWeb(namespace)} and ${DUCKDB_WRITES} and responseObject is not null and ${duckdbTime(undefined, at)}`,
      select: 'responseObject',
      limit: 1,
    }),
    grep: ({ namespace, at }) => ({
      words: `"namespace":"${namespace}"`,
      select: `${jqWeb(namespace)} and ${JQ_WRITES} and .responseObject and ${jqTime(undefined, at)}`,
    }),
  },
  {
    name: 'who changed its image',
    path: ({ namespace }) =>
      `/v1/changes?field=${encodeURIComponent('spec.template.spec.containers[web].image')}&namespace=${namespace}`,
    naive: ({ namespace }) => ({
      contains: { stage: 'ResponseComplete', objectRef: { ...WEB, namespace } },
      where: `${JSONB_WRITES} and event ? 'responseObject'`,
      select: `event->'user', event->'responseObject'#>>'${IMAGES}',
               lag(event->'responseObject'#>>'${IMAGES}') over (order by event->>'requestReceivedTimestamp')`,
    }),
    duckdb: ({ namespace }) => ({
      where: `${duckdbWeb(namespace)} and ${DUCKDB_WRITES} and responseObject is not null`,
      select: `"user", responseObject->>'$.spec.template.spec.containers[0].image',
               lag(responseObject->>'$.spec.template.spec.containers[0].image') over (order by requestReceivedTimestamp)`,
    }),
    grep: ({ namespace }) => ({
      words: `"namespace":"${namespace}"`,
      select: `${jqWeb(namespace)} and ${JQ_WRITES} and .responseObject.spec.template.spec.containers[0].image`,
    }),
  },
  {
    name: 'an actor, a day',
    path: ({ at }) => `/v1/changes?actor=bob@example.com&since=${before(at, 1440)}&until=${at}`,
    naive: ({ at }) => ({
      contains: { stage: 'ResponseComplete', user: { username: 'bob@example.com' } },
      where: `${JSONB_WRITES} and ${jsonbTime(before(at, 1440), at)}`,
    }),
    duckdb: ({ at }) => ({
      where: `("user"->>'username') = 'bob@example.com' and ${DUCKDB_WRITES} and ${duckdbTime(before(at, 1440), at)}`,
    }),
    grep: ({ at }) => ({
      words: '"username":"bob@example.com"',
      select: `.user.username == "bob@example.com" and ${JQ_WRITES} and ${jqTime(before(at, 1440), at)}`,
    }),
  },
  {
    name: 'interactive access',
    path: ({ at }) => `/v1/access?until=${at}`,
    naive: ({ at }) => ({
      contains: { objectRef: { resource: 'pods', subresource: 'exec' } },
      where: jsonbTime(undefined, at),
    }),
    duckdb: ({ at }) => ({ where: `(objectRef->>'subresource') = 'exec' and ${duckdbTime(undefined, at)}` }),
    grep: ({ at }) => ({
      words: '"subresource":"exec"',
      select: `.objectRef.subresource == "exec" and ${jqTime(undefined, at)}`,
    }),
  },
  {
    name: 'reads of Secrets',
    path: ({ at }) => `/v1/secret-reads?until=${at}`,
    naive: ({ at }) => ({
      contains: { stage: 'ResponseComplete', objectRef: { resource: 'secrets' } },
      where: `event->>'verb' in ('get', 'list', 'watch') and ${jsonbTime(undefined, at)}`,
    }),
    duckdb: ({ at }) => ({
      where: `(objectRef->>'resource') = 'secrets' and verb in ('get', 'list', 'watch') and stage = 'ResponseComplete' and ${duckdbTime(undefined, at)}`,
    }),
    grep: ({ at }) => ({
      words: '"resource":"secrets"',
      select: `.objectRef.resource == "secrets" and (.verb | IN("get", "list", "watch")) and .stage == "ResponseComplete" and ${jqTime(undefined, at)}`,
    }),
  },
  {
    name: 'events of a request',
    path: ({ auditID }) => `/v1/events?auditID=${auditID}`,
    naive: ({ auditID }) => ({ contains: { auditID } }),
    duckdb: ({ auditID }) => ({ where: `auditID = '${auditID}'` }),
    grep: ({ auditID }) => ({ words: `"auditID":"${auditID}"`, select: 'true' }),
  },
];
