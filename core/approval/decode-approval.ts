import { parseMicros } from '../timestamp.js';
import type { ImportedApproval, Person } from './facts.js';
import { personOfAccount } from './same-person.js';

/** An item that can't be taken: what is wrong, and with which of its members. */
export class ItemProblem extends Error {}

const MAX_TEXT = 500;
const SHA = /^[0-9a-f]{40}([0-9a-f]{24})?$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
const CHANGE_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function asItem(value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new ItemProblem('expected an object');
}

/** A text that is there; undefined for an absent or empty one. */
export function optionalText(item: Record<string, unknown>, name: string): string | undefined {
  const value = item[name];
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value === 'number') return String(value);
  if (typeof value !== 'string') throw new ItemProblem(`${name}: expected a text`);
  if (value.length > MAX_TEXT) throw new ItemProblem(`${name}: longer than ${MAX_TEXT} characters`);
  return value.trim() || undefined;
}

export function requiredText(item: Record<string, unknown>, name: string): string {
  const value = optionalText(item, name);
  if (value === undefined) throw new ItemProblem(`${name}: it is missing`);
  return value;
}

/** An RFC 3339 time, in microseconds. */
export function optionalTime(item: Record<string, unknown>, name: string): number | undefined {
  const text = optionalText(item, name);
  if (text === undefined) return undefined;
  const micros = parseMicros(text);
  if (micros === undefined)
    throw new ItemProblem(`${name}: ${JSON.stringify(text)} is no time; write it like 2026-03-02T09:00:00Z`);
  return micros;
}

/** `{login, email, name}`, or a text: with @ an address, else a login. */
export function decodePerson(value: unknown, name: string): Person {
  if (typeof value === 'string' && value.trim() !== '') {
    return personOfAccount(value.trim().slice(0, MAX_TEXT));
  }
  if (typeof value !== 'object' || value === null)
    throw new ItemProblem(`${name}: expected a login, an address, or an object with login, email or name`);
  const item = value as Record<string, unknown>;
  const [login, email, full] = ['login', 'email', 'name'].map((key) => optionalText(item, key));
  if (login === undefined && email === undefined)
    throw new ItemProblem(`${name}: it has neither login nor email`);
  return {
    ...(full !== undefined && { name: full }),
    ...(email !== undefined && { email }),
    ...(login !== undefined && { login }),
  };
}

const MEMBERS = ['id', 'commit', 'repo', 'sha', 'image', 'change', 'approver', 'approvedAt', 'url'];

/**
 * Reads `{id, commit: {repo, sha} | repo, sha | image | change, approver, approvedAt, url?}`: exactly one subject.
 * @throws ItemProblem
 */
export function decodeApproval(value: unknown, origin: string): ImportedApproval {
  const item = asItem(value);
  for (const key of Object.keys(item))
    if (!MEMBERS.includes(key))
      throw new ItemProblem(`${key}: there is no such member; there are ${MEMBERS.join(', ')}`);
  const approvedAt = optionalTime(item, 'approvedAt');
  if (approvedAt === undefined) throw new ItemProblem('approvedAt: it is missing');
  const url = optionalText(item, 'url');
  if (url !== undefined && !/^https?:\/\//.test(url))
    throw new ItemProblem('url: expected an http or https URL');
  return {
    id: requiredText(item, 'id'),
    subject: decodeSubject(item),
    approver: decodePerson(item.approver, 'approver'),
    approvedAt,
    origin,
    ...(url !== undefined && { url }),
  };
}

function decodeSubject(item: Record<string, unknown>): ImportedApproval['subject'] {
  const commit = item.commit === undefined ? item : asItem(item.commit);
  const [repo, sha] = [optionalText(commit, 'repo'), optionalText(commit, 'sha')?.toLowerCase()];
  const [image, change] = [optionalText(item, 'image'), optionalText(item, 'change')];
  const subjects = [sha, image, change].filter((one) => one !== undefined);
  if (subjects.length !== 1)
    throw new ItemProblem('expected exactly one of a commit (repo and sha), image, change');
  if (sha !== undefined) {
    if (repo === undefined)
      throw new ItemProblem("repo: it is missing; it is the repository's name in whochanged");
    if (!SHA.test(sha)) throw new ItemProblem('sha: expected the whole SHA of a commit');
    return { kind: 'commit', repo, sha };
  }
  if (image !== undefined) {
    const digest = image.slice(image.indexOf('sha256:'));
    if (!DIGEST.test(digest))
      throw new ItemProblem('image: expected its digest, sha256: and 64 hex digits; a tag can move');
    return { kind: 'image', digest };
  }
  if (!CHANGE_ID.test(change!)) throw new ItemProblem('change: expected the id of a change');
  return { kind: 'change', id: change! };
}
