import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Pool } from 'pg';
import { type AccessEvent, BEGUN } from '../core/access/access-event.js';
import { roleAnywhere } from '../core/access/grants.js';
import { WhochangedError } from '../core/errors.js';
import { appendAccessEvents, MAX_ACCESS_EVENTS } from '../store/access-events.js';
import { askedOf } from './asked.js';

const MAX_TARGET = 2000;
/** Whether somebody asked of it is nobody's business: probes, and the description of the API. */
const UNRECORDED = /^\/(healthz|readyz|docs|openapi\.json)/;

interface Waiting {
  event: AccessEvent;
  resolve: () => void;
  reject: (error: unknown) => void;
}

/** Records requests; those that end at the same time share a transaction. */
class AccessLog {
  readonly #pool: Pool;
  #waiting: Waiting[] = [];
  #writing = false;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Resolves once the event is durable. */
  append(event: AccessEvent): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ event, resolve, reject });
      if (!this.#writing) void this.#write();
    });
  }

  async #write(): Promise<void> {
    this.#writing = true;
    while (this.#waiting.length > 0) {
      const group = this.#waiting.splice(0, MAX_ACCESS_EVENTS);
      try {
        await appendAccessEvents(
          this.#pool,
          group.map((item) => item.event),
        );
        for (const item of group) item.resolve();
      } catch (error) {
        for (const item of group) item.reject(error);
      }
    }
    this.#writing = false;
  }
}

/** Methods that change nothing (RFC 9110, section 9.2.1). */
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

/**
 * Records every request to the API before it is answered, and one that may change something before it is carried out too:
 * what can't be recorded is neither done nor answered. Then ends the tenant's transaction, if there was one.
 */
export function recordAccess(server: FastifyInstance, pool: Pool): void {
  const log = new AccessLog(pool);
  server.decorateRequest('tenant', undefined);
  const record = async (event: AccessEvent, otherwise: string) => {
    try {
      await log.append(event);
    } catch (cause) {
      throw new WhochangedError('store_unavailable', `the request could not be recorded, ${otherwise}`, {
        hint: 'try again; Postgres is away',
        retryAfter: 5,
        cause,
      });
    }
  };
  // The caller is known and the request valid. However it ends, and if this process does, that it was begun is known.
  server.addHook('preHandler', async (request) => {
    const route = request.routeOptions.url;
    if (SAFE.has(request.method) || request.caller === undefined || route === undefined) return;
    await record(accessEventOf(request, route, BEGUN), 'so nothing was done');
  });
  server.addHook('onSend', async (request, reply, payload) => {
    const route = request.routeOptions.url;
    if (route === undefined || UNRECORDED.test(route) || reply.statusCode >= 500) return payload;
    // Whoever floods us with nothing to show must not fill the ledger; the failures before are in it.
    if (reply.statusCode === 429 && request.caller === undefined) return payload;
    await record(accessEventOf(request, route, reply.statusCode), 'so it is not answered');
    return payload;
  });
  // Whoever goes away in the midst of being told who they are has no tenant yet: `ended` tells that none is to come.
  server.decorateRequest('ended', false);
  server.addHook('onRequest', async (request, reply) => {
    reply.raw.once('close', () => {
      request.ended = true;
      void endTenant(request);
    });
  });
  server.addHook('onResponse', async (request) => endTenant(request));
}

async function endTenant(request: FastifyRequest): Promise<void> {
  const { tenant } = request;
  request.tenant = undefined;
  await tenant?.release();
}

/** What several bounds allow together; null: all. Nothing granted reaches nothing, which the grants say. */
function union(bounds: ReadonlyArray<readonly string[] | null>): string[] | null {
  const all = bounds.filter((names) => names !== null);
  return all.length === 0 || all.length < bounds.length ? null : [...new Set(all.flat())];
}

function accessEventOf(request: FastifyRequest, route: string, status: number): AccessEvent {
  const { caller } = request;
  const grants = caller?.grants ?? [];
  return {
    at: Date.now() * 1000,
    caller: caller?.name ?? '',
    callerKind: caller?.kind ?? 'none',
    role: roleAnywhere(grants) ?? null,
    clusters: union(grants.map((grant) => grant.clusters)),
    namespaces: union(grants.map((grant) => grant.namespaces)),
    grants: caller ? grants : null,
    method: request.method,
    route,
    target: request.url.slice(0, MAX_TARGET).replaceAll('\0', ''),
    asked: SAFE.has(request.method) ? null : askedOf(request.body),
    status,
    sourceIP: request.ip,
    requestID: String(request.id),
  };
}
