import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import type { ChangeKind, EventClass, PatchType } from '../../../core/vocabulary.js';

/** The file format is described at the top of test/fixtures/session/actions.yaml. */
export interface ActionFile {
  users: Record<string, string>;
  actions: Action[];
}

export interface Action {
  id: string;
  as: string;
  run?: string;
  request?: RawRequest;
  /** Standard input of `run`, and the body of `request` where it has none of its own. */
  manifest?: string;
  settle_ms?: number;
  expect: Expectation[];
  derived?: DerivedExpectation[];
}

export interface RawRequest {
  method: string;
  path: string;
  headers?: Record<string, string>;
  body?: unknown;
}

export interface Expectation {
  class: EventClass;
  kind?: ChangeKind;
  verb: string;
  object: string;
  subresource?: string;
  patch_type?: PatchType;
  fields?: string[];
  values?: Record<string, [unknown, unknown]>;
  /** Left out: the user of `as`. */
  actor?: string;
  impersonated?: string;
  code?: number;
  flags?: string[];
  certainty?: 'exact' | 'inferred' | 'unknown';
}

export interface DerivedExpectation {
  object: string;
  kind?: ChangeKind;
  actor: string;
  root?: string;
  /** Left out: nobody set it off. */
  trigger?: string;
}

/** When each action ran: RFC 3339 with milliseconds, UTC. */
export interface ActionTime {
  id: string;
  started_at: string;
  finished_at: string;
  /** Of `run`: the exit code. Of `request`: the HTTP status. */
  result: number;
}

/** @throws Error that names the action which lacks an id, a user or something to do */
export function readActions(path: string): ActionFile {
  const file = parse(readFileSync(path, 'utf8')) as ActionFile;
  const ids = new Set<string>();
  for (const [index, action] of file.actions.entries()) {
    const where = `${path}: action ${index + 1} (${action.id ?? 'no id'})`;
    if (!action.id || ids.has(action.id)) throw new Error(`${where}: id is missing or used twice`);
    ids.add(action.id);
    if (file.users[action.as] === undefined)
      throw new Error(`${where}: as: ${action.as} is not one of users`);
    if ((action.run === undefined) === (action.request === undefined))
      throw new Error(`${where}: needs run or request, one of them`);
    if (!Array.isArray(action.expect)) throw new Error(`${where}: expect must be a list, [] for nothing`);
  }
  return file;
}
