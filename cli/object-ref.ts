import type { Client, Query } from './client.js';
import { CliError, EXIT } from './exit.js';
import { nearest } from './nearest.js';

/** `deploy/web`, `deployments.apps/web`, `ns/shop`: as kubectl takes it. */
export function parseRef(text: string): { resource: string; name: string } {
  const match = /^([A-Za-z][A-Za-z0-9.-]*)\/([^/\s]+)$/.exec(text);
  if (!match)
    throw new CliError(
      EXIT.usage,
      `"${text}" is not TYPE/NAME`,
      'write it like deploy/web or deployments.apps/web',
    );
  return { resource: match[1]!, name: match[2]! };
}

/** TYPE/NAME of a type and a name that were given as two words, as kubectl takes them too. */
export function joinRef(type: string, name: string | undefined): string {
  if (name === undefined) return type;
  if (!type.includes('/') && !name.includes('/')) return `${type}/${name}`;
  throw new CliError(
    EXIT.usage,
    `"${type} ${name}" is neither TYPE/NAME nor TYPE NAME`,
    'write it like deploy/web or deploy web, one object at a time',
  );
}

interface Known {
  cluster: string;
  object: { group: string; resource: string; namespace?: string; name?: string; text: string };
}

interface Place {
  namespace?: string | undefined;
  cluster?: string | undefined;
}

async function knownObjects(
  client: Client,
  query: Place & { resource?: string | undefined; name?: string | undefined },
  limit: number,
): Promise<Known[]> {
  return (await client.get<{ items: Known[] }>('/v1/objects', { ...query, limit })).items;
}

/** The one object that a person means: its API path, and the filters of lists that hold for it alone. */
export async function locateObject(
  client: Client,
  ref: string,
  flags: Place,
): Promise<{ path: string; text: string; query: Query }> {
  const { resource, name } = parseRef(ref);
  const { namespace, cluster } = flags;
  const items = await knownObjects(client, { resource, name, namespace, cluster }, 20);
  if (items.length === 0) {
    const { message, hint } = await whyUnknown(client, { ref, namespace, cluster });
    throw new CliError(EXIT.notFound, message, hint);
  }
  if (items.length > 1) {
    const several = items.map(
      (item) =>
        `  --cluster ${item.cluster}${item.object.namespace ? ` -n ${item.object.namespace}` : ''}  ${item.object.text}`,
    );
    throw new CliError(
      EXIT.usage,
      `${ref} could be any of\n${several.join('\n')}`,
      'say which with -n, --cluster or TYPE.GROUP/NAME',
    );
  }
  const { cluster: where, object } = items[0]!;
  const parts = [where, object.group || 'core', object.resource, object.namespace ?? '-', object.name!];
  return {
    path: `/v1/objects/${parts.map(encodeURIComponent).join('/')}`,
    text: object.text,
    query: {
      cluster: where,
      resource: object.group === '' ? object.resource : `${object.resource}.${object.group}`,
      namespace: object.namespace,
      name: object.name,
    },
  };
}

/** What is asked for, and who may have been meant. */
interface Asked extends Place {
  /** TYPE/NAME */
  ref?: string | undefined;
}

/** Whether no such object, or nothing in such a namespace, was ever seen. */
export async function isUnknown(client: Client, { ref, namespace, cluster }: Asked): Promise<boolean> {
  if (ref === undefined && namespace === undefined) return false;
  const query = { ...(ref !== undefined && parseRef(ref)), namespace, cluster };
  return (await knownObjects(client, query, 1)).length === 0;
}

/** Says of what was never seen that it wasn't, and what comes nearest to it: elsewhere, mistyped, of another type. */
export async function whyUnknown(
  client: Client,
  { ref, namespace, cluster }: Asked,
): Promise<{ message: string; hint: string | undefined }> {
  const what = ref === undefined ? 'nothing was ever seen' : `no ${ref} was ever seen`;
  const message = `${what}${namespace === undefined ? '' : ` in namespace ${namespace}`}`;
  if (namespace !== undefined && (await knownObjects(client, { namespace, cluster }, 1)).length === 0) {
    const namespaces = await knownObjects(client, { resource: 'namespaces', cluster }, 1000);
    const near = nearest(
      namespace,
      namespaces.flatMap(({ object }) => object.name ?? []),
    );
    if (near.length > 0 && near[0] !== namespace)
      return { message, hint: `did you mean -n ${near.join(', -n ')}?` };
  }
  if (ref === undefined) return { message, hint: undefined };
  const { resource, name } = parseRef(ref);
  if (namespace !== undefined) {
    const elsewhere = await knownObjects(client, { resource, name, cluster }, 3);
    if (elsewhere.some(({ object }) => object.namespace === undefined))
      return { message, hint: 'there is one without a namespace: leave -n out' };
    if (elsewhere.length > 0)
      return {
        message,
        hint: `one is known with -n ${elsewhere.map(({ object }) => object.namespace).join(', -n ')}`,
      };
  }
  const siblings = await knownObjects(client, { resource, namespace, cluster }, 1000);
  const near = nearest(
    name,
    siblings.flatMap(({ object }) => object.name ?? []),
  );
  if (near.length > 0)
    return { message, hint: `did you mean ${near.map((item) => `${resource}/${item}`).join(', ')}?` };
  const namesakes = await knownObjects(client, { name, namespace, cluster }, 3);
  if (namesakes.length > 0)
    return {
      message,
      hint: `of that name there is ${namesakes.map(({ object }) => `${object.resource}/${name}`).join(', ')}`,
    };
  return { message, hint: undefined };
}
