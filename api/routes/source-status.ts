import { type Static, Type } from 'typebox';
import { OBJECT_STATES } from '../../store/queries/source-objects.js';
import { findSourceStatus, type SourceStatus } from '../../store/queries/source-status.js';
import { findSources } from '../../store/queries/sources.js';
import type { Api } from '../api.js';
import { words } from '../change-schema.js';
import { MaybeTrouble, TroubleSchema } from '../source-trouble.js';
import { findSource, Name, type Source, sourceItem } from './sources.js';

const TAGS = ['sources'];
const Time = Type.Union([Type.String(), Type.Null()]);
export const ObjectCounts = Type.Record(Type.String(), Type.Integer(), {
  description: `how many objects are in each state: ${OBJECT_STATES.join(', ')}`,
});

const Status = Type.Object({
  name: Type.String(),
  cluster: Type.String(),
  kind: Type.String(),
  state: words(['ok', 'behind', 'failing', 'silent', 'never', 'disabled'] as const),
  lagSeconds: Type.Union([Type.Number(), Type.Null()], {
    description:
      'age of the oldest object that waits; of a webhook, between an event and its arrival at the last batch',
  }),
  lastReceivedAt: Time,
  lastEventAt: Time,
  events: Type.Integer(),
  duplicates: Type.Integer(),
  quarantined: Type.Integer(),
  skipped: Type.Integer({ description: 'records of its objects that are no audit events' }),
  salvaged: Type.Integer({ description: 'events of its objects of which only a part could be read' }),
  location: Type.Union([
    Type.Object({
      bucket: Type.String(),
      prefix: Type.String(),
      region: Time,
      endpoint: Time,
      format: Type.String(),
      roleARN: Time,
      profile: Time,
      queueURL: Time,
    }),
    Type.Null(),
  ]),
  objects: ObjectCounts,
  oldestWaitingAt: Time,
  nextRetryAt: Time,
  listing: Type.Union([
    Type.Object({
      pass: Type.Union([words(['full', 'recent']), Type.Null()]),
      keys: Type.Integer({ description: 'looked at in the last or running pass' }),
      afterKey: Time,
      listedAt: Time,
      fullListedAt: Time,
      dueAt: Type.String(),
      error: MaybeTrouble,
      errorAt: Time,
    }),
    Type.Null(),
  ]),
  queue: Type.Union([Type.Object({ polledAt: Time, error: MaybeTrouble, errorAt: Time }), Type.Null()]),
  lastError: Type.Union([
    Type.Object({
      key: Type.String(),
      state: Type.String(),
      attempts: Type.Integer(),
      at: Type.String(),
      error: TroubleSchema,
    }),
    Type.Null(),
  ]),
  spool: Type.Union([Type.Object({ bytes: Type.Integer() }), Type.Null()], {
    description: 'of the process that answers, for all sources; null where it does not receive',
  }),
});

function statusItem(
  row: SourceStatus,
  source: Static<typeof Source>,
  spool: { bytes: number } | null,
): Static<typeof Status> {
  const { health } = source;
  const failing = Boolean(row.listing?.error ?? row.queue?.error ?? row.objects.failed);
  const waiting = row.oldest_waiting_at !== null;
  const readHere = row.location !== null && source.disabledAt === null;
  const state = !readHere
    ? health.state
    : failing
      ? 'failing'
      : waiting
        ? 'behind'
        : row.listing?.listedAt || row.objects.done
          ? 'ok'
          : 'never';
  const waitedSeconds = waiting ? (Date.now() - Date.parse(row.oldest_waiting_at!)) / 1000 : 0;
  return {
    name: row.name,
    cluster: source.cluster,
    kind: source.kind,
    state,
    lagSeconds: readHere ? Math.max(0, waitedSeconds) : health.lagSeconds,
    lastReceivedAt: health.lastReceivedAt,
    lastEventAt: health.lastEventAt,
    events: health.events,
    duplicates: health.duplicates,
    quarantined: health.quarantined,
    skipped: Number(row.skipped),
    salvaged: Number(row.salvaged),
    location: row.location,
    objects: row.objects,
    oldestWaitingAt: row.oldest_waiting_at,
    nextRetryAt: row.next_retry_at,
    listing: row.listing,
    queue: row.queue,
    lastError: row.last_error,
    spool,
  };
}

/** How far sources are, of every kind. */
export function sourceStatusRoutes({ server, deps, auth }: Api): void {
  const status = async (name?: string) => {
    const sources = new Map((await findSources(deps.db, name)).map((row) => [row.name, sourceItem(row)]));
    const spool = deps.spoolStatus?.() ?? null;
    const rows = await findSourceStatus(deps.db, name);
    return rows.flatMap((row) => {
      const source = sources.get(row.name);
      return source ? [statusItem(row, source, spool)] : [];
    });
  };
  server.get(
    '/v1/sources/status',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: TAGS,
        summary: 'How far each source is: objects by state, lag, errors, next retry',
        response: { 200: Type.Object({ items: Type.Array(Status) }) },
      },
    },
    async () => ({ items: await status() }),
  );

  server.get(
    '/v1/sources/:name/status',
    {
      onRequest: auth.require('reader'),
      schema: {
        tags: TAGS,
        summary: 'How far one source is',
        params: Type.Object({ name: Name }),
        response: { 200: Status },
      },
    },
    async ({ params }) => {
      await findSource(deps.db, params.name);
      return (await status(params.name))[0]!;
    },
  );
}
