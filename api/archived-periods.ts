import type { FastifyInstance, FastifyRequest } from 'fastify';
import { millisOfID, objectID } from '../core/identity.js';
import { classesOf, findControl } from '../core/report/controls.js';
import { resourceOf } from '../core/resource-names.js';
import { formatMicros } from '../core/timestamp.js';
import { EVENT_CLASSES, type EventClass } from '../core/vocabulary.js';
import {
  findArchivedUntil,
  findReached,
  findSegmentsOfObject,
  findSegmentsOfState,
  type Reach,
} from '../store/archive/find-reached.js';
import type { Segment } from '../store/archive/segments.js';
import { decodeCursor } from '../store/queries/cursor.js';
import { ArchiveLoader } from './archive.js';
import type { ApiDeps } from './deps.js';
import { readTime } from './times.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** What of an answer comes from the archive, or lies there unread. */
    archived: ArchivedPart | undefined;
  }
}

export interface ArchivedPart {
  /** Something was read from the archive: the answer is as whole as ever, and was slower. */
  read: boolean;
  /** What is older than this lies in the archive, and was not read. */
  before?: string;
}

const HEADER = 'whochanged-archived';
type Query = Record<string, string | string[] | boolean | number | undefined>;

const REPORT = '/v1/reports/:control';
/** Lists over a time, and the classes of events that they tell of where the query names none. */
const LISTS: Record<string, readonly EventClass[] | undefined> = {
  '/v1/changes': ['change', 'access'],
  '/v1/changes.ndjson': ['change', 'access'],
  '/v1/changes.csv': ['change', 'access'],
  '/v1/changes/density': ['change', 'access'],
  '/v1/access': ['access'],
  '/v1/secret-reads': ['secret_read'],
  '/v1/events': undefined,
  '/v1/actors/:username/activity': ['change', 'access'],
  [REPORT]: [],
  '/v1/verdicts': ['change', 'access'],
  '/v1/application-actions': ['change'],
};
const OBJECT = '/v1/objects/:cluster/:group/:resource/:namespace/:name/';

/**
 * Lets every question about the past be asked as ever: what it reaches in the archive is put back into the tables first, and
 * the answer says so. A list without a beginning is answered from the database alone, and says from when on it is whole.
 */
export function answerArchivedPeriods(server: FastifyInstance, deps: ApiDeps): void {
  server.decorateRequest('archived', undefined);
  const { archive } = deps;
  const loader = archive && new ArchiveLoader(deps.pool, archive, server.log);
  server.addHook('preHandler', async (request, reply) => {
    const route = request.routeOptions.url;
    if (request.method !== 'GET' || route === undefined || request.caller === undefined) return;
    const reach = route in LISTS ? await reachOf(deps, request, route) : undefined;
    const segments = reach ? await reachedSegments(deps, reach) : await namedSegments(deps, request, route);
    if (segments && segments.length > 0 && loader) {
      if (await loader.load(segments)) request.archived = { read: true };
    }
    const before = reach && (await unreadBefore(deps, request, reach));
    if (before !== undefined) request.archived = { read: request.archived?.read ?? false, before };
    const part = request.archived;
    if (part?.read) reply.header(HEADER, 'read');
    // A page that ends before that is whole; an export has no pages.
    else if (part?.before && (route === REPORT || /\.(csv|ndjson)$|density$/.test(route)))
      reply.header(HEADER, `before ${part.before}`);
  });
  server.addHook('preSerialization', async (request, reply, payload: unknown) => {
    const part = request.archived;
    if (!part || typeof payload !== 'object' || payload === null || reply.statusCode !== 200) return payload;
    // A report has the same bytes wherever its rows lie; it says by itself what it lacks.
    if (request.routeOptions.url === REPORT) return payload;
    const { items, next } = payload as { items?: Array<{ at?: string }>; next?: string | null };
    if (items === undefined) return part.read ? { ...payload, archived: true } : payload;
    const isWhole = part.before === undefined || (next != null && (items.at(-1)?.at ?? '') >= part.before);
    if (!isWhole && !part.read) reply.header(HEADER, `before ${part.before}`);
    const archived: ArchivedPart = { read: part.read, ...(!isWhole && { before: part.before! }) };
    return archived.read || archived.before ? { ...payload, archived } : payload;
  });
}

/** Segments that must be read for a list; undefined where it has no beginning. */
async function reachedSegments(deps: ApiDeps, reach: Reach): Promise<Segment[] | undefined> {
  return reach.since === undefined ? undefined : findReached(deps.pool, reach);
}

/** Segments that must be read to tell of what a path names; undefined where that isn't of the past. */
async function namedSegments(
  deps: ApiDeps,
  request: FastifyRequest,
  route: string,
): Promise<Segment[] | undefined> {
  const params = request.params as Record<string, string>;
  if (route.startsWith('/v1/changes/:id')) return ofTime(deps, request, millisOfID(params.id!));
  if (route.startsWith('/v1/events/:eventID')) {
    const micros = /^(\d{1,16})-/.exec(params.eventID!)?.[1];
    return micros === undefined ? undefined : ofTime(deps, request, Math.floor(Number(micros) / 1000));
  }
  return route.startsWith(OBJECT) ? ofObject(deps, request, route.slice(OBJECT.length)) : undefined;
}

async function ofTime(deps: ApiDeps, request: FastifyRequest, millis: number): Promise<Segment[]> {
  if (!Number.isFinite(millis) || millis > 8e15) return [];
  return findReached(deps.pool, {
    clusterIDs: await visibleClusters(deps, request),
    since: new Date(millis).toISOString(),
    until: new Date(millis + 1).toISOString(),
    classes: undefined,
  });
}

async function ofObject(
  deps: ApiDeps,
  request: FastifyRequest,
  question: string,
): Promise<Segment[] | undefined> {
  const params = request.params as Record<'cluster' | 'group' | 'resource' | 'namespace' | 'name', string>;
  const [clusterID] = (await visibleClusters(deps, request, [params.cluster])) ?? [];
  if (clusterID === undefined) return undefined;
  const id = objectID({
    apiGroup: params.group === 'core' ? '' : params.group,
    resource: resourceOf(params.resource).resource,
    namespace: params.namespace === '-' ? '' : params.namespace,
    name: params.name,
  });
  if (question === 'history') return findSegmentsOfObject(deps.pool, clusterID, id);
  const query = request.query as Record<string, string | undefined>;
  const times = ['at', 'from', 'to'].flatMap((name) => readTime(name, query[name]) ?? []);
  const segments: Segment[] = [];
  for (const at of times) segments.push(...(await findSegmentsOfState(deps.pool, clusterID, id, at)));
  return [...new Map(segments.map((segment) => [segment.id, segment])).values()];
}

/** From when on a list is whole, where it has no beginning and older events lie in the archive. */
async function unreadBefore(
  deps: ApiDeps,
  request: FastifyRequest,
  reach: Reach,
): Promise<string | undefined> {
  if ((request.query as Query).after_seq !== undefined) return undefined;
  if (reach.since !== undefined && deps.archive) return undefined;
  return findArchivedUntil(deps.pool, reach);
}

async function reachOf(deps: ApiDeps, request: FastifyRequest, route: string): Promise<Reach> {
  const query = request.query as Query;
  const names = query.cluster === undefined ? undefined : [query.cluster].flat().map(String);
  const asked = query.class === undefined ? undefined : ([query.class].flat() as EventClass[]);
  const cursor = typeof query.cursor === 'string' ? decodeCursor(query.cursor) : undefined;
  const since = readTime('since', query.since as string | undefined);
  const until = readTime('until', query.until as string | undefined);
  // A page reads what is beyond the last one, whichever way.
  const ascending = query.order === 'asc';
  return {
    clusterIDs: await visibleClusters(deps, request, names),
    since: (ascending && since !== undefined ? cursor?.at : undefined) ?? since,
    until: (ascending ? undefined : cursor && justAfter(cursor.at)) ?? until,
    classes:
      asked ?? (query.all ? EVENT_CLASSES : route === REPORT ? classesOfReport(request) : LISTS[route]),
  };
}

/** Of the members of a control's population. */
function classesOfReport(request: FastifyRequest): readonly EventClass[] {
  const control = findControl((request.params as { control: string }).control);
  return control ? classesOf(control.population) : [];
}

/** Clusters that the caller may ask about, of these names; undefined: all that there are. */
async function visibleClusters(
  deps: ApiDeps,
  request: FastifyRequest,
  names?: string[],
): Promise<number[] | undefined> {
  if (names === undefined && !request.tenant) return undefined;
  const { pool } = deps.auth.storeOf(request);
  const { rows } = await pool.query<{ id: number }>(
    'select id from clusters where $1::text[] is null or name = any($1)',
    [names ?? null],
  );
  return rows.map(({ id }) => id);
}

function justAfter(time: string): string {
  return formatMicros(Date.parse(time) * 1000 + 1000);
}
