import { CHANGE_KINDS } from '../core/vocabulary.js';
import type { Client, Query } from './client.js';
import { nearest } from './nearest.js';
import { isUnknown, whyUnknown } from './object-ref.js';
import type { Change } from './render/changes.js';
import { age } from './render/text.js';

/** What a person is told instead of an empty list. */
export interface Nothing {
  message: string;
  hint: string;
}

interface Asked {
  /** TYPE or TYPE/NAME, as it was given. */
  ref: string | undefined;
  /** What the API was asked. */
  query: Query;
  /** What could have been meant instead of a type. */
  commands?: readonly string[];
}

const BOOKKEEPING = 'look at bookkeeping, too, with --all';

/** Why a list of changes is empty, as far as that can be told, and what to do about it. */
export async function whyNothing(client: Client, asked: Asked, now: number): Promise<Nothing> {
  const { ref, query } = asked;
  const message = `nothing matches${ref === undefined || ref.includes('/') ? '' : ` the type "${ref}"`}`;
  const unknown = await whatIsUnknown(client, asked, message);
  if (unknown) return unknown;
  if (query.since === undefined || query.until !== undefined)
    return {
      message,
      hint: `${query.since === undefined ? '' : 'look further back with --since, or '}${BOOKKEEPING}`,
    };
  const newest = await newestOf(client, query);
  if (!newest) return { message: `${message}, at any time`, hint: await whyNever(client, asked) };
  return {
    message: `${message} since ${query.since}`,
    hint: `the newest that does is ${age(newest.at, now)} old: say --since ${newest.at.slice(0, 19)}Z`,
  };
}

/** What was named and was never seen: a command that is taken for a type, a cluster, a namespace, an object. */
export async function whatIsUnknown(
  client: Client,
  { ref, query, commands = [] }: Asked,
  message = '',
): Promise<Nothing | undefined> {
  const [command] = ref === undefined ? [] : nearest(ref, commands);
  if (command !== undefined) return { message, hint: `did you mean the command ${command}?` };
  const cluster = query.cluster as string | undefined;
  if (cluster !== undefined) {
    const clusters = Object.keys(await client.get<Record<string, string>>('/v1/changes/last-seq'));
    if (!clusters.includes(cluster))
      return {
        message: `no cluster is called ${cluster}`,
        hint:
          clusters.length > 0
            ? `there is ${clusters.slice(0, 10).join(', ')}`
            : 'see `whochanged source list`',
      };
  }
  const named = ref?.includes('/') && !ref.includes('*') ? ref : undefined;
  const place = { ref: named, namespace: query.namespace as string | undefined, cluster };
  if (!(await isUnknown(client, place))) return undefined;
  const why = await whyUnknown(client, place);
  return { message: why.message, hint: why.hint ?? 'see what there is: whochanged --since 7d' };
}

/** What is likely to be wrong with a question that nothing ever answered. */
async function whyNever(client: Client, { ref, query }: Asked): Promise<string> {
  const [kind] = ((query.verb ?? []) as string[]).filter((verb) =>
    (CHANGE_KINDS as readonly string[]).includes(verb),
  );
  if (kind !== undefined && !['create', 'update', 'delete'].includes(kind))
    return `${kind} is what was done, and no verb of the API: say --kind ${kind}`;
  const actors = ((query.actor ?? []) as string[]).filter((actor) => !actor.includes('*'));
  if (actors.length > 0) {
    const like = await newestOf(client, { ...query, actor: actors.map((actor) => `*${actor}*`) });
    if (like) return `usernames are matched whole: did you mean ${actorLike(like, actors)}?`;
  }
  if (query.field !== undefined)
    return `fields are named by their whole path, as in spec.replicas or spec.template.spec.containers[*].image; or ${BOOKKEEPING}`;
  if (ref !== undefined && !ref.includes('/')) {
    const resource = `${ref.toLowerCase()}s`;
    if (await newestOf(client, { ...query, resource: [resource] })) return `did you mean ${resource}?`;
  }
  return BOOKKEEPING;
}

function actorLike({ actor }: Change, asked: string[]): string {
  const names = [actor.username, actor.impersonatedUser?.username ?? ''];
  return names.find((name) => asked.some((word) => name.includes(word))) ?? actor.username;
}

async function newestOf(client: Client, query: Query): Promise<Change | undefined> {
  const page = await client.get<{ items: Change[] }>('/v1/changes', { ...query, since: undefined, limit: 1 });
  return page.items[0];
}
