import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import type { Kysely } from 'kysely';
import type { Pool } from 'pg';
import { type Caller, includesRole, roleAnywhere, scopeOf, unboundedRole } from '../core/access/grants.js';
import { WhochangedError } from '../core/errors.js';
import type { Role } from '../core/vocabulary.js';
import { recordTokenUse } from '../store/api-tokens.js';
import type { Database } from '../store/schema.js';
import { openTenantStore, type Store, type TenantStore } from '../store/tenant.js';

declare module 'fastify' {
  interface FastifyInstance {
    /** Counts failed logins by address. */
    failedLogins: ReturnType<FastifyInstance['createRateLimit']>;
  }
  interface FastifyRequest {
    /** Who asks, once authenticated. */
    caller: Caller | undefined;
    /** Set for a tenant on a route that is open to tenants; released when the request ends. */
    tenant: TenantStore | undefined;
    /** It was answered, or whoever asked has gone. */
    ended: boolean;
  }
}

/** A revoked token may be believed for this long. */
const CACHE_MS = 5000;
/** How exactly a token's last use is known. */
const USE_MS = 60_000;

interface Known {
  caller: Caller;
  checkedAt: number;
}

/**
 * Another way to tell who asks than our own tokens (api/identity/): undefined where the credential is none of its kind.
 * @throws WhochangedError `unauthenticated` where it is, and is not valid; `identity_unavailable` where that can't be known
 */
export type Authenticator = (
  request: FastifyRequest,
  token: string | undefined,
) => Promise<Caller | undefined>;

type Hook = (request: FastifyRequest) => Promise<void>;

/**
 * Who may ask what. Our own tokens (`api_tokens`) are known by their SHA-256; other authenticators may be added. A
 * caller whose grants are bounded by clusters or namespaces is a tenant: closed out of every route but those that ask
 * through `storeOf`, where Postgres itself shows no more than the tenant's rows.
 */
export class Auth {
  readonly #db: Kysely<Database>;
  readonly #pool: Pool;
  readonly #others: readonly Authenticator[];
  readonly #known = new Map<string, Known>();

  constructor(db: Kysely<Database>, pool: Pool, others: readonly Authenticator[] = []) {
    this.#db = db;
    this.#pool = pool;
    this.#others = others;
  }

  /** A hook that lets in whoever holds the role over everything. Tenants are refused. */
  require(role: Role): Hook {
    return async (request) => {
      const caller = await this.#identify(request);
      const held = unboundedRole(caller.grants);
      if (includesRole(held, role)) return;
      if (held === undefined)
        throw new WhochangedError('forbidden', 'this takes a role over all clusters and namespaces', {
          hint: 'ask about your own namespaces: /v1/changes, /v1/objects, /v1/access, /v1/events',
        });
      throw new WhochangedError('forbidden', `this takes the role ${role}; "${caller.name}" has ${held}`);
    };
  }

  /** A hook that lets in whoever can be told, whatever is granted to them. */
  requireIdentity(): Hook {
    return async (request) => {
      await this.#authenticate(request);
    };
  }

  /** A hook for routes that tenants may ask too; they must ask through `storeOf`. */
  requireWithin(role: Role): Hook {
    return async (request) => {
      const caller = await this.#identify(request);
      if (includesRole(unboundedRole(caller.grants), role)) return;
      if (!includesRole(roleAnywhere(caller.grants), role))
        throw new WhochangedError(
          'forbidden',
          `this takes the role ${role}; "${caller.name}" has a lesser one`,
        );
      const { rows } = await this.#pool.query<{ id: number; name: string }>('select id, name from clusters');
      const granted = caller.grants.filter((grant) => includesRole(grant.role, role));
      const scope = scopeOf(granted, new Map(rows.map((row) => [row.name, row.id])));
      const tenant = await openTenantStore(this.#pool, scope);
      if (request.ended) {
        await tenant.release();
        throw new WhochangedError('invalid_request', 'whoever asked has gone', { hint: 'ask again' });
      }
      request.tenant = tenant;
    };
  }

  /** Where a request's questions are asked: everything, or what its tenant may see. */
  storeOf(request: FastifyRequest): Store {
    return request.tenant ?? { db: this.#db, pool: this.#pool };
  }

  /** Makes every token be looked up again: one was revoked. Other processes notice within CACHE_MS. */
  forget(): void {
    this.#known.clear();
  }

  async #identify(request: FastifyRequest): Promise<Caller> {
    const caller = await this.#authenticate(request);
    if (caller.grants.length === 0)
      throw new WhochangedError('forbidden', `nothing is granted to "${caller.name}"`, {
        hint: '`whochanged whoami` tells your groups; an admin grants in the access file (docs/access.md)',
      });
    return caller;
  }

  async #authenticate(request: FastifyRequest): Promise<Caller> {
    const token = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
    const caller = this.#cached(token) ?? (await this.#logIn(request, token));
    request.caller = caller;
    return caller;
  }

  /** Addresses that fail too often are not looked at for a while, but for tokens that were valid a moment ago. */
  async #logIn(request: FastifyRequest, token: string | undefined): Promise<Caller> {
    const { failedLogins } = request.server;
    const before = await failedLogins(request, { increment: false });
    if (!before.isAllowed && before.remaining === 0)
      throw new WhochangedError('rate_limited', 'too many failed logins from this address', {
        hint: `try again in ${before.ttlInSeconds} s`,
        retryAfter: before.ttlInSeconds,
      });
    try {
      const caller =
        (await this.#other(request, token)) ?? (token === undefined ? undefined : await this.#check(token));
      if (caller) return caller;
      throw new WhochangedError('unauthenticated', 'no token', {
        hint: 'send Authorization: Bearer TOKEN; the first admin token is in the data folder, in the file admin-token',
      });
    } catch (error) {
      if (error instanceof WhochangedError && error.code === 'unauthenticated') await failedLogins(request);
      throw error;
    }
  }

  async #other(request: FastifyRequest, token: string | undefined): Promise<Caller | undefined> {
    for (const authenticate of this.#others) {
      const caller = await authenticate(request, token);
      if (caller) return caller;
    }
    return undefined;
  }

  /** Whose token it was a moment ago. */
  #cached(token: string | undefined): Caller | undefined {
    if (token === undefined) return undefined;
    const now = Date.now();
    const cached = this.#known.get(digestOf(token).toString('hex'));
    const ends = cached?.caller.expiresAt ?? Number.POSITIVE_INFINITY;
    return cached && now - cached.checkedAt < CACHE_MS && ends > now ? cached.caller : undefined;
  }

  async #check(token: string): Promise<Caller> {
    const digest = digestOf(token);
    const key = digest.toString('hex');
    const now = Date.now();
    const row = await this.#db
      .selectFrom('api_tokens')
      .select(['id', 'name', 'role', 'secret_sha256', 'expires_at', 'last_used_at', 'clusters', 'namespaces'])
      .where('secret_sha256', '=', digest)
      .where('revoked_at', 'is', null)
      .executeTakeFirst();
    const expiresAt = row?.expires_at == null ? undefined : Date.parse(row.expires_at);
    if (!row || !timingSafeEqual(row.secret_sha256, digest) || (expiresAt ?? now + 1) <= now) {
      this.#known.delete(key);
      throw new WhochangedError('unauthenticated', 'the token is not valid, or no longer', {
        hint: 'ask an admin for `whochanged token create`',
      });
    }
    if (row.last_used_at === null || now - Date.parse(row.last_used_at) > USE_MS)
      await recordTokenUse(this.#db, row.id);
    if (this.#known.size > 10_000) this.#known.clear();
    const caller: Caller = {
      name: row.name,
      kind: 'token',
      groups: [],
      grants: [{ role: row.role, clusters: row.clusters, namespaces: row.namespaces }],
      expiresAt,
      tokenID: row.id,
    };
    this.#known.set(key, { caller, checkedAt: now });
    return caller;
  }
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
