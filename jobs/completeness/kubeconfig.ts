import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import type { Connection } from './apiserver.js';

/**
 * The current context of a kubeconfig (k8s.io/client-go/tools/clientcmd/api/v1), as far as it can be used without running
 * anything: server, CA, token, client certificate. Files it names are found from `folder`.
 * @throws Error saying which part is missing or can't be used; never with a value in it
 */
export async function connectionOf(text: string, folder: string): Promise<Connection> {
  let config: Record<string, unknown>;
  try {
    config = parse(text) as Record<string, unknown>;
  } catch {
    // The parser's own message quotes the file.
    throw new Error('the kubeconfig is no YAML');
  }
  const current = config?.['current-context'];
  const context = pick(config, 'contexts', 'context', current);
  if (!context) throw new Error('the kubeconfig has no current context');
  const cluster = pick(config, 'clusters', 'cluster', context.cluster);
  const user = pick(config, 'users', 'user', context.user);
  const server = cluster?.server;
  if (typeof server !== 'string' || !/^https?:\/\/[^@]+$/.test(server))
    throw new Error('the kubeconfig’s cluster has no server');
  if (cluster!['insecure-skip-tls-verify'])
    throw new Error('the kubeconfig says insecure-skip-tls-verify: name its certificate-authority instead');
  if (!user) throw new Error('the kubeconfig’s context has no user');
  for (const kind of ['exec', 'auth-provider', 'username'])
    if (user[kind])
      throw new Error(`the kubeconfig’s user uses ${kind}: use a token or a client certificate`);
  const read = async (
    parts: Record<string, unknown>,
    data: string,
    file: string,
  ): Promise<string | undefined> => {
    const inline = parts[data];
    if (typeof inline === 'string') return Buffer.from(inline, 'base64').toString('utf8');
    const path = parts[file];
    if (typeof path !== 'string') return undefined;
    try {
      return await readFile(resolve(folder, path), 'utf8');
    } catch (error) {
      throw new Error(`the kubeconfig’s ${file} can’t be read: ${(error as NodeJS.ErrnoException).code}`);
    }
  };
  const token = typeof user.token === 'string' ? user.token : await read(user, '', 'tokenFile');
  const serverName = cluster!['tls-server-name'];
  return {
    url: server.replace(/\/+$/, ''),
    token: token?.trim(),
    ca: await read(cluster!, 'certificate-authority-data', 'certificate-authority'),
    cert: await read(user, 'client-certificate-data', 'client-certificate'),
    key: await read(user, 'client-key-data', 'client-key'),
    serverName: typeof serverName === 'string' ? serverName : undefined,
  };
}

/** `contexts: [{name, context: {...}}]` and its like: the one of that name. */
function pick(
  config: Record<string, unknown>,
  list: string,
  member: string,
  name: unknown,
): Record<string, unknown> | undefined {
  const items = Array.isArray(config?.[list]) ? (config[list] as Array<Record<string, unknown>>) : [];
  const found = items.find((item) => item?.name === name)?.[member];
  return typeof found === 'object' && found !== null ? (found as Record<string, unknown>) : undefined;
}

/** The folder that a credential reference's file lies in. */
export function folderOf(reference: string): string {
  return reference.startsWith('file:') ? dirname(reference.slice(5)) : '/';
}
