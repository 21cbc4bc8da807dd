import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'pg';
import type { Logger } from 'pino';
import { WhochangedError } from '../../core/errors.js';
import { findSourceCredentials, type SourceCredentials } from '../../store/sources.js';

const REFRESH_MS = 5000;
/** Unknown names must not turn into a query each: those that come within this wait for the same one. */
const MIN_REFRESH_MS = 500;
/** A code of Postgres. */
const UNDEFINED_TABLE = '42P01';

export interface PresentedCredential {
  token?: string;
  /** DER of the client certificate, whose key the TLS handshake has proven. */
  certificate?: Uint8Array;
}

/**
 * Who may post as which source. Kept in memory, and as a file of digests beside the spool, so that sources are known
 * also when Postgres is away at start.
 */
export class SourceRegistry {
  readonly #pool: Pool;
  readonly #snapshotPath: string;
  readonly #log: Logger;
  #sources = new Map<string, SourceCredentials>();
  #refreshedAt = 0;
  #refreshing: Promise<void> | undefined;
  #soon: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #snapshot = '';

  constructor(pool: Pool, snapshotPath: string, log: Logger) {
    this.#pool = pool;
    this.#snapshotPath = snapshotPath;
    this.#log = log;
  }

  async start(): Promise<void> {
    try {
      this.#snapshot = await readFile(this.#snapshotPath, 'utf8');
      this.#adopt(JSON.parse(this.#snapshot) as SourceCredentials[]);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        this.#log.warn({ err: error }, 'the snapshot of sources is unreadable');
    }
    await this.refresh();
    this.#timer = setInterval(() => void this.refresh(), REFRESH_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Reads the sources anew; keeps what it has when Postgres is away. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#load().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  /** Reads the sources once more, by a query that begins after this call: a credential that was just revoked lets nobody in. */
  async reread(): Promise<void> {
    await this.#refreshing;
    await this.refresh();
  }

  /**
   * Resolves once the sources were read by a query that began after this call. A credential made a moment ago must be let in:
   * the apiserver drops a batch that is refused with 401.
   */
  #refreshSoon(): Promise<void> {
    this.#soon ??= this.#refreshAgain();
    return this.#soon;
  }

  async #refreshAgain(): Promise<void> {
    // One at work may have read before the credential was there.
    await this.#refreshing;
    await sleep(Math.max(0, this.#refreshedAt + MIN_REFRESH_MS - Date.now()));
    this.#soon = undefined;
    await this.refresh();
  }

  async #load(): Promise<void> {
    this.#refreshedAt = Date.now();
    try {
      const sources = await findSourceCredentials(this.#pool);
      this.#adopt(sources);
      const snapshot = JSON.stringify(sources);
      if (snapshot === this.#snapshot) return;
      await writeFile(`${this.#snapshotPath}.new`, snapshot, { mode: 0o600 });
      await rename(`${this.#snapshotPath}.new`, this.#snapshotPath);
      this.#snapshot = snapshot;
    } catch (error) {
      // A new database, whose schema is being made: nobody can have a credential yet.
      if ((error as { code?: string }).code === UNDEFINED_TABLE) return;
      this.#log.warn({ err: error }, 'cannot read the sources: those known so far stay valid');
    }
  }

  #adopt(sources: SourceCredentials[]): void {
    this.#sources = new Map(sources.map((source) => [source.name, source]));
  }

  /** @throws WhochangedError `unauthenticated`, the same whether the source or the credential is wrong */
  async authenticate(name: string, presented: PresentedCredential): Promise<SourceCredentials> {
    return this.#authenticate(name, () => this.#match(name, presented));
  }

  /**
   * The same for the name of a source or of a cluster, of which any source's credential counts: each of several
   * apiservers calls the one webhook of its cluster with its own.
   * @throws WhochangedError `unauthenticated`
   */
  async authenticateAny(name: string, presented: PresentedCredential): Promise<SourceCredentials> {
    return this.#authenticate(name, () => {
      const names = [...this.#sources.values()].filter((source) => source.cluster === name);
      return (
        this.#match(name, presented) ??
        names.map((source) => this.#match(source.name, presented)).find((source) => source !== undefined)
      );
    });
  }

  async #authenticate(name: string, match: () => SourceCredentials | undefined): Promise<SourceCredentials> {
    let source = match();
    if (!source) {
      await this.#refreshSoon();
      source = match();
    }
    if (source) return source;
    throw new WhochangedError('unauthenticated', `no valid credential for source "${name.slice(0, 63)}"`, {
      hint: 'use the kubeconfig printed by `whochanged source add` or `whochanged source rotate`; client-go sends tokens over https only',
    });
  }

  #match(name: string, presented: PresentedCredential): SourceCredentials | undefined {
    const source = this.#sources.get(name);
    const token = digestOf(presented.token);
    const certificate = digestOf(presented.certificate);
    let matched = false;
    // Every credential is compared, so that time tells nothing of which one was near.
    for (const credential of source?.credentials ?? []) {
      const offered = credential.kind === 'token' ? token : certificate;
      const current = credential.expiresAt === null || credential.expiresAt > Date.now();
      if (offered && timingSafeEqual(Buffer.from(credential.sha256, 'hex'), offered) && current)
        matched = true;
    }
    return matched ? source : undefined;
  }
}

function digestOf(secret: string | Uint8Array | undefined): Buffer | undefined {
  return secret === undefined || secret.length === 0
    ? undefined
    : createHash('sha256').update(secret).digest();
}
