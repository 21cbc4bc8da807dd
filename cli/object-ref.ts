import type { Client } from './client.js';
import { CliError, EXIT } from './exit.js';

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

interface Known {
  cluster: string;
  object: { group: string; resource: string; namespace?: string; name?: string; text: string };
}

/** The API path of the one object that a person means. */
export async function locateObject(
  client: Client,
  ref: string,
  flags: { namespace?: string; cluster?: string },
): Promise<{ path: string; text: string }> {
  const { resource, name } = parseRef(ref);
  const { items } = await client.get<{ items: Known[] }>('/v1/objects', {
    resource,
    name,
    namespace: flags.namespace,
    cluster: flags.cluster,
    limit: 20,
  });
  if (items.length === 0)
    throw new CliError(
      EXIT.notFound,
      `no ${ref} was ever seen${flags.namespace ? ` in namespace ${flags.namespace}` : ''}`,
    );
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
  const { cluster, object } = items[0]!;
  const parts = [cluster, object.group || 'core', object.resource, object.namespace ?? '-', object.name!];
  return { path: `/v1/objects/${parts.map(encodeURIComponent).join('/')}`, text: object.text };
}
