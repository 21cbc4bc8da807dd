import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import type { Kysely } from 'kysely';
import { WhochangedError } from '../core/errors.js';
import { ROLES, type Role } from '../core/vocabulary.js';
import type { Database } from '../store/schema.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks, once authenticated. */
    caller: { name: string; role: Role } | undefined;
  }
}

/** A revoked token may be believed for this long. */
const CACHE_MS = 5000;

interface Known {
  name: string;
  role: Role;
  expiresAt: number;
  checkedAt: number;
}

/** Bearer tokens of `api_tokens`: known by their SHA-256, with a role that includes the lesser ones. */
export class TokenAuth {
  readonly #db: Kysely<Database>;
  readonly #known = new Map<string, Known>();

  constructor(db: Kysely<Database>) {
    this.#db = db;
  }

  /** A hook that lets in whoever holds the role. */
  require(role: Role): (request: FastifyRequest) => Promise<void> {
    return async (request) => {
      const match = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '');
      if (!match) {
        throw new WhochangedError('unauthenticated', 'no token', {
          hint: 'send Authorization: Bearer TOKEN; the first admin token is in the data folder, in the file admin-token',
        });
      }
      const caller = await this.#check(match[1]!);
      request.caller = caller;
      if (ROLES.indexOf(caller.role) < ROLES.indexOf(role)) {
        throw new WhochangedError(
          'forbidden',
          `this takes the role ${role}; the token "${caller.name}" has ${caller.role}`,
        );
      }
    };
  }

  /** Makes every token be looked up again: one was revoked. Other processes notice within CACHE_MS. */
  forget(): void {
    this.#known.clear();
  }

  async #check(token: string): Promise<{ name: string; role: Role }> {
    const digest = createHash('sha256').update(token).digest();
    const key = digest.toString('hex');
    const now = Date.now();
    const cached = this.#known.get(key);
    if (cached && now - cached.checkedAt < CACHE_MS && cached.expiresAt > now) return cached;
    const row = await this.#db
      .selectFrom('api_tokens')
      .select(['name', 'role', 'secret_sha256', 'expires_at'])
      .where('secret_sha256', '=', digest)
      .where('revoked_at', 'is', null)
      .executeTakeFirst();
    const expiresAt = row?.expires_at == null ? Number.POSITIVE_INFINITY : Date.parse(row.expires_at);
    if (!row || !timingSafeEqual(row.secret_sha256, digest) || expiresAt <= now) {
      this.#known.delete(key);
      throw new WhochangedError('unauthenticated', 'the token is not valid, or no longer', {
        hint: 'ask an admin for `whochanged token create`',
      });
    }
    if (this.#known.size > 10_000) this.#known.clear();
    const known = { name: row.name, role: row.role, expiresAt, checkedAt: now };
    this.#known.set(key, known);
    return known;
  }
}
