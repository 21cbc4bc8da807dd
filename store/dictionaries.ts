import type { AuditEvent, UserInfo } from '../core/audit-event.js';
import { canonicalJson } from '../core/canonical.js';
import { contextText, type EventContext, takeApart } from '../core/event-context.js';
import { dictionaryID, type ObjectKey, objectID, objectKey } from '../core/identity.js';
import { RecentMap } from '../core/recent.js';
import { parseUserAgent } from '../core/user-agent.js';

/** What is forgotten is computed again. A key is a whole user as text, so that many of them would be megabytes. */
const RECENT_IDS = 4000;

/** What the rows of events and changes refer to by id. */
export interface EntryIDs {
  user(user: UserInfo | undefined): bigint | undefined;
  userAgent(userAgent: string | undefined): bigint | undefined;
  object(key: ObjectKey): string;
  context(context: EventContext): bigint;
}

/** Computes the ids of dictionary entries, which depend on nothing but the entries' content. */
export class DictionaryIDs implements EntryIDs {
  readonly #ids = new RecentMap<string, bigint>(RECENT_IDS);

  user(user: UserInfo | undefined): bigint | undefined {
    if (!user) return undefined;
    // Decoding gives equal users equal texts but for the order of `extra`, which Go sorts; the id is of the canonical text.
    const key = `u${JSON.stringify(user)}`;
    return this.#ids.get(key) ?? this.#remember(key, dictionaryID(`u${canonicalJson(user)}`));
  }

  userAgent(userAgent: string | undefined): bigint | undefined {
    return userAgent === undefined ? undefined : this.#id(`a${userAgent}`);
  }

  object(key: ObjectKey): string {
    return objectID(key);
  }

  authorization({ decision, reason }: EventContext): bigint | undefined {
    if (decision === undefined && reason === undefined) return undefined;
    return this.#id(`z${decision ?? '\0'}\n${reason ?? '\0'}`);
  }

  context(context: EventContext): bigint {
    const key = `c${JSON.stringify(context)}`;
    return this.#ids.get(key) ?? this.#remember(key, dictionaryID(`c${contextText(context)}`));
  }

  #id(text: string): bigint {
    return this.#ids.get(text) ?? this.#remember(text, dictionaryID(text));
  }

  #remember(text: string, id: bigint): bigint {
    this.#ids.set(text, id);
    return id;
  }
}

export interface UserRow {
  id: bigint;
  user: UserInfo;
}
export interface UserAgentRow {
  id: bigint;
  userAgent: string;
  tool: string;
  version: string | undefined;
}
export interface ObjectRow {
  id: string;
  apiGroup: string;
  resource: string;
  namespace: string;
  name: string;
}
export interface AuthorizationRow {
  id: bigint;
  decision: string | undefined;
  reason: string | undefined;
}
export interface ContextRow {
  id: bigint;
  context: EventContext;
  userAgentID: bigint | undefined;
  authorizationID: bigint | undefined;
}

/** The dictionary entries that a batch of one cluster's rows refers to. */
export class Dictionaries implements EntryIDs {
  readonly users = new Map<bigint, UserRow>();
  readonly userAgents = new Map<bigint, UserAgentRow>();
  readonly objects = new Map<string, ObjectRow>();
  readonly authorizations = new Map<bigint, AuthorizationRow>();
  readonly contexts = new Map<bigint, ContextRow>();
  /** The reference columns of rows that were encoded in another thread, whose entries are among these. */
  readonly references = new Set<string>();
  readonly #ids: DictionaryIDs;

  /** `ids` remembers ids from batch to batch. */
  constructor(ids: DictionaryIDs) {
    this.#ids = ids;
  }

  /** Takes in all that an event's row refers to. */
  add(event: AuditEvent): void {
    this.user(event.user);
    this.user(event.impersonatedUser);
    if (event.objectRef) this.object(objectKey(event.objectRef));
    this.context(takeApart(event).context);
  }

  user(user: UserInfo | undefined): bigint | undefined {
    const id = this.#ids.user(user);
    if (user && id !== undefined && !this.users.has(id)) this.users.set(id, { id, user });
    return id;
  }

  userAgent(userAgent: string | undefined): bigint | undefined {
    const id = this.#ids.userAgent(userAgent);
    if (userAgent !== undefined && id !== undefined && !this.userAgents.has(id)) {
      const { tool, version } = parseUserAgent(userAgent);
      this.userAgents.set(id, { id, userAgent, tool, version });
    }
    return id;
  }

  object(key: ObjectKey): string {
    const id = this.#ids.object(key);
    if (!this.objects.has(id)) this.objects.set(id, { id, ...key });
    return id;
  }

  context(context: EventContext): bigint {
    const id = this.#ids.context(context);
    if (!this.contexts.has(id)) {
      const userAgentID = this.userAgent(context.userAgent);
      this.contexts.set(id, { id, context, userAgentID, authorizationID: this.#authorization(context) });
    }
    return id;
  }

  #authorization(context: EventContext): bigint | undefined {
    const id = this.#ids.authorization(context);
    if (id !== undefined && !this.authorizations.has(id))
      this.authorizations.set(id, { id, decision: context.decision, reason: context.reason });
    return id;
  }
}
