import { before } from './asked.js';
import { LIMIT } from './rival-store.js';
import type { Place } from './same-questions.js';

const DAY = 1440;
const WRITES = `verb in ('create', 'update', 'patch', 'delete', 'deletecollection') and stage = 'ResponseComplete' and code between 1 and 299`;
/** `kind` is the first member of what an apiserver answers. */
const DEPLOYMENT = `visitParamExtractString(responseObject, 'kind') = 'Deployment'`;
/** The image of its container `web`, wherever that stands in the list. An apiserver writes a container's name, then its image. */
const IMAGE = `extract(responseObject, '"containers":\\\\[.*?\\\\{"name":"web","image":"([^"]*)"')`;

const microseconds = (time: string) => `${Date.parse(time)}000`;
const within = (since: string | undefined, until: string) =>
  `${since ? `requestReceivedTimestamp >= ${microseconds(since)} and ` : ''}requestReceivedTimestamp < ${microseconds(until)}`;
const web = (namespace: string) => `resource = 'deployments' and name = 'web' and namespace = '${namespace}'`;

/**
 * The newest of those for which a condition holds. Their times are found first, in the columns that the condition is about, and all
 * columns are read of what lies at these times alone: it would else read the bodies of all before it sorts them.
 */
function newest(where: string, what = '*', limit = LIMIT): string {
  const last = `order by requestReceivedTimestamp desc limit ${limit}`;
  return `select ${what} from events
           where requestReceivedTimestamp in (select requestReceivedTimestamp from events where ${where} ${last}) and ${where} ${last}`;
}

/** What a table of createEvents (clickhouse-table.ts) is asked, by the question of same-questions.ts that it is. */
export const CLICKHOUSE_QUESTIONS = {
  newestChanges: () => newest(WRITES),
  changesOfNamespace: ({ namespace, at }: Place) =>
    newest(`namespace = '${namespace}' and ${WRITES} and ${within(before(at, 30), at)}`),
  history: ({ namespace }: Place) => newest(`${web(namespace)} and ${WRITES}`),
  state: ({ namespace, at }: Place) =>
    newest(
      `${web(namespace)} and ${WRITES} and ${DEPLOYMENT} and ${within(undefined, at)}`,
      'responseObject',
      1,
    ),
  // 18.16 has no window functions: all values go into arrays, and each image stands beside the one before it.
  imageChanges: ({ namespace }: Place) =>
    `select user, verb, at, image, previous
       from (select groupArray(user) as users, groupArray(verb) as verbs, groupArray(at) as times, groupArray(image) as images
               from (select user, verb, requestReceivedTimestamp as at, ${IMAGE} as image
                       from events where ${web(namespace)} and ${WRITES} and ${DEPLOYMENT} order by at))
      array join users as user, verbs as verb, times as at, images as image, arrayPushFront(arrayPopBack(images), '') as previous
      where verb != 'create' and image != previous order by at desc limit ${LIMIT}`,
  changesOfActor: ({ at }: Place) =>
    newest(`username = 'bob@example.com' and ${WRITES} and ${within(before(at, DAY), at)}`),
  interactiveAccess: ({ at }: Place) =>
    newest(`subresource = 'exec' and stage = 'ResponseComplete' and ${within(undefined, at)}`),
  secretReads: ({ at }: Place) =>
    newest(
      `resource = 'secrets' and verb in ('get', 'list', 'watch') and stage = 'ResponseComplete' and ${within(undefined, at)}`,
    ),
  eventsOfRequest: ({ rivalAuditID }: Place) => newest(`auditID = '${rivalAuditID}'`),
};
