import { before } from './asked.js';
import { CLICKHOUSE_QUESTIONS } from './clickhouse-questions.js';

/** Where and when a sample asks. */
export interface Place {
  namespace: string;
  /** RFC 3339. */
  at: string;
  /** When the newest of all events was over. */
  end: string;
  /** A request, by the auditID that whochanged knows and by that of the others' copy. */
  auditID: string;
  rivalAuditID: string;
}

/** One question, as each of those that hold the same events is asked it. */
export interface SameQuestion {
  name: string;
  /** The path of whochanged's API. */
  path(place: Place): string;
  /** Absent where the others can't be asked: they don't know what it is about. */
  rivals?: SameOfRivals;
}

/** `having`: what is then asked of the selected rows, each with its time as `at`. */
export interface SameOfRivals {
  /** What a table `naive (event jsonb)` with a GIN index is asked: the member that the index finds, and what is left to look at. */
  naive(place: Place): {
    contains: object;
    where?: string;
    select?: string;
    having?: string;
    limit?: number;
  };
  /** What DuckDB's table is asked. */
  duckdb(place: Place): { where: string; select?: string; having?: string; limit?: number };
  /** The statement for ClickHouse's table. */
  clickhouse(place: Place): string;
  /** What lines of the gzipped log hold, jq's program for them, and which times they must be of. */
  log(place: Place): { words: string; program: string; since?: string; until?: string };
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

/** The image of its container `web`, wherever that stands in the list. */
const JSONB_IMAGE = `jsonb_path_query_first(event, '$.responseObject.spec.template.spec.containers[*] ? (@.name == "web").image') #>> '{}'`;
const DUCKDB_IMAGE = `list_filter(from_json(responseObject->'$.spec.template.spec.containers', '["JSON"]'), lambda c: (c->>'name') = 'web')[1]->>'image'`;
const JQ_IMAGE = '[.responseObject.spec.template.spec.containers[]? | select(.name == "web") | .image][0]';
/** A Deployment that is made has its image, and nobody changed it. */
const IMAGE_CHANGED = "verb <> 'create' and image is distinct from previous";

const inputs = (condition: string) => `inputs | select(${condition})`;

/** Of verdicts, those that say that nobody had approved it. */
const NOT_APPROVED = ['out-of-band', 'unknown', 'self-approved', 'unapproved'];
const DAY = 1440;

/** What users ask. The others know of no classes, causes, commits and approvals: what they are asked comes as near as it can. */
export const SAME_QUESTIONS: readonly SameQuestion[] = [
  {
    name: 'the newest changes',
    path: ({ end }) => `/v1/changes?until=${end}`,
    rivals: {
      naive: () => ({ contains: { stage: 'ResponseComplete' }, where: JSONB_WRITES }),
      duckdb: () => ({ where: DUCKDB_WRITES }),
      clickhouse: CLICKHOUSE_QUESTIONS.newestChanges,
      log: () => ({ words: '"stage":"ResponseComplete"', program: inputs(JQ_WRITES) }),
    },
  },
  {
    name: '30 minutes of a namespace',
    path: ({ namespace, at }) => `/v1/changes?namespace=${namespace}&since=${before(at, 30)}&until=${at}`,
    rivals: {
      naive: ({ namespace, at }) => ({
        contains: { stage: 'ResponseComplete', objectRef: { namespace } },
        where: `${JSONB_WRITES} and ${jsonbTime(before(at, 30), at)}`,
      }),
      duckdb: ({ namespace, at }) => ({
        where: `(objectRef->>'namespace') = '${namespace}' and ${DUCKDB_WRITES} and ${duckdbTime(before(at, 30), at)}`,
      }),
      clickhouse: CLICKHOUSE_QUESTIONS.changesOfNamespace,
      log: ({ namespace, at }) => ({
        words: `"namespace":"${namespace}"`,
        program: inputs(
          `.objectRef.namespace == "${namespace}" and ${JQ_WRITES} and ${jqTime(before(at, 30), at)}`,
        ),
        since: before(at, 30),
        until: at,
      }),
    },
  },
  {
    name: 'history of a Deployment',
    path: ({ namespace }) => `/v1/objects/default/apps/deployments/${namespace}/web/history`,
    rivals: {
      naive: ({ namespace }) => ({
        contains: { stage: 'ResponseComplete', objectRef: { ...WEB, namespace } },
        where: JSONB_WRITES,
      }),
      duckdb: ({ namespace }) => ({ where: `${duckdbWeb(namespace)} and ${DUCKDB_WRITES}` }),
      clickhouse: CLICKHOUSE_QUESTIONS.history,
      log: ({ namespace }) => ({
        words: `"namespace":"${namespace}"`,
        program: inputs(`${jqWeb(namespace)} and ${JQ_WRITES}`),
      }),
    },
  },
  {
    name: 'its state at a time',
    path: ({ namespace, at }) => `/v1/objects/default/apps/deployments/${namespace}/web/state?at=${at}`,
    rivals: {
      naive: ({ namespace, at }) => ({
        contains: { stage: 'ResponseComplete', objectRef: { ...WEB, namespace } },
        where: `${JSONB_WRITES} and event->'responseObject'->>'kind' = 'Deployment' and ${jsonbTime(undefined, at)}`,
        select: `event->'responseObject'`,
        limit: 1,
      }),
      duckdb: ({ namespace, at }) => ({
        where: `${duckdbWeb(namespace)} and ${DUCKDB_WRITES} and (responseObject->>'kind') = 'Deployment' and ${duckdbTime(undefined, at)}`,
        select: 'responseObject',
        limit: 1,
      }),
      clickhouse: CLICKHOUSE_QUESTIONS.state,
      log: ({ namespace, at }) => ({
        words: `"namespace":"${namespace}"`,
        program: `last(${inputs(
          `${jqWeb(namespace)} and ${JQ_WRITES} and .responseObject.kind == "Deployment" and ${jqTime(undefined, at)}`,
        )} | .responseObject)`,
        until: at,
      }),
    },
  },
  {
    name: 'who changed its image',
    path: ({ namespace, end }) =>
      `/v1/changes?field=${encodeURIComponent('spec.template.spec.containers[web].image')}&resource=deploy&name=web&namespace=${namespace}&until=${end}`,
    rivals: {
      naive: ({ namespace }) => ({
        contains: { stage: 'ResponseComplete', objectRef: { ...WEB, namespace } },
        where: `${JSONB_WRITES} and event->'responseObject'->>'kind' = 'Deployment'`,
        select: `event->'user' as "user", event->>'verb' as verb, event->>'requestReceivedTimestamp' as at, ${JSONB_IMAGE} as image,
                 lag(${JSONB_IMAGE}) over (order by event->>'requestReceivedTimestamp') as previous`,
        having: IMAGE_CHANGED,
      }),
      duckdb: ({ namespace }) => ({
        where: `${duckdbWeb(namespace)} and ${DUCKDB_WRITES} and (responseObject->>'kind') = 'Deployment'`,
        select: `"user", verb, requestReceivedTimestamp as "at", ${DUCKDB_IMAGE} as image,
                 lag(${DUCKDB_IMAGE}) over (order by requestReceivedTimestamp) as previous`,
        having: IMAGE_CHANGED,
      }),
      clickhouse: CLICKHOUSE_QUESTIONS.imageChanges,
      log: ({ namespace }) => ({
        words: `"namespace":"${namespace}"`,
        program: `foreach (${inputs(
          `${jqWeb(namespace)} and ${JQ_WRITES} and .responseObject.kind == "Deployment"`,
        )} | {user, verb, at: .requestReceivedTimestamp, image: ${JQ_IMAGE}}) as $one
          ({}; {previous: .now, now: $one}; select(.now.verb != "create" and .now.image != .previous.image) | .now)`,
      }),
    },
  },
  {
    name: 'an actor, a day',
    path: ({ at }) => `/v1/changes?actor=bob@example.com&since=${before(at, DAY)}&until=${at}`,
    rivals: {
      naive: ({ at }) => ({
        contains: { stage: 'ResponseComplete', user: { username: 'bob@example.com' } },
        where: `${JSONB_WRITES} and ${jsonbTime(before(at, DAY), at)}`,
      }),
      duckdb: ({ at }) => ({
        where: `("user"->>'username') = 'bob@example.com' and ${DUCKDB_WRITES} and ${duckdbTime(before(at, DAY), at)}`,
      }),
      clickhouse: CLICKHOUSE_QUESTIONS.changesOfActor,
      log: ({ at }) => ({
        words: '"username":"bob@example.com"',
        program: inputs(
          `.user.username == "bob@example.com" and ${JQ_WRITES} and ${jqTime(before(at, DAY), at)}`,
        ),
        since: before(at, DAY),
        until: at,
      }),
    },
  },
  {
    name: 'interactive access',
    path: ({ at }) => `/v1/access?until=${at}`,
    rivals: {
      naive: ({ at }) => ({
        contains: { stage: 'ResponseComplete', objectRef: { resource: 'pods', subresource: 'exec' } },
        where: jsonbTime(undefined, at),
      }),
      duckdb: ({ at }) => ({
        where: `(objectRef->>'subresource') = 'exec' and stage = 'ResponseComplete' and ${duckdbTime(undefined, at)}`,
      }),
      clickhouse: CLICKHOUSE_QUESTIONS.interactiveAccess,
      log: ({ at }) => ({
        words: '"subresource":"exec"',
        program: inputs(
          `.objectRef.subresource == "exec" and .stage == "ResponseComplete" and ${jqTime(undefined, at)}`,
        ),
        until: at,
      }),
    },
  },
  {
    name: 'reads of Secrets',
    path: ({ at }) => `/v1/secret-reads?until=${at}`,
    rivals: {
      naive: ({ at }) => ({
        contains: { stage: 'ResponseComplete', objectRef: { resource: 'secrets' } },
        where: `event->>'verb' in ('get', 'list', 'watch') and ${jsonbTime(undefined, at)}`,
      }),
      duckdb: ({ at }) => ({
        where: `(objectRef->>'resource') = 'secrets' and verb in ('get', 'list', 'watch') and stage = 'ResponseComplete' and ${duckdbTime(undefined, at)}`,
      }),
      clickhouse: CLICKHOUSE_QUESTIONS.secretReads,
      log: ({ at }) => ({
        words: '"resource":"secrets"',
        program: inputs(
          `.objectRef.resource == "secrets" and (.verb | IN("get", "list", "watch")) and .stage == "ResponseComplete" and ${jqTime(undefined, at)}`,
        ),
        until: at,
      }),
    },
  },
  {
    name: 'not approved, a quarter',
    path: ({ at }) =>
      `/v1/changes?${NOT_APPROVED.map((verdict) => `verdict=${verdict}&`).join('')}since=${before(at, 90 * DAY)}&until=${at}`,
  },
  {
    name: 'events of a request',
    path: ({ auditID }) => `/v1/events?auditID=${auditID}`,
    rivals: {
      naive: ({ rivalAuditID }) => ({ contains: { auditID: rivalAuditID } }),
      duckdb: ({ rivalAuditID }) => ({ where: `auditID = '${rivalAuditID}'` }),
      clickhouse: CLICKHOUSE_QUESTIONS.eventsOfRequest,
      log: ({ rivalAuditID }) => ({
        words: `"auditID":"${rivalAuditID}"`,
        program: 'inputs',
      }),
    },
  },
];
