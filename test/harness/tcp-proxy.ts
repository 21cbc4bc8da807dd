import type { AddressInfo, NetConnectOpts } from 'node:net';
import { createConnection, createServer, type Socket } from 'node:net';

/**
 * `pass`; `refuse`: connections are reset, those that are open and those that come; `silent`: connections stay open and
 * nothing gets through, as behind a firewall that drops packets.
 */
export type Passage = 'pass' | 'refuse' | 'silent';

export interface TcpProxy {
  port: number;
  set(passage: Passage): void;
  /** Where new connections lead from now on. */
  target(port: number): void;
  stop(): Promise<void>;
}

/**
 * Stands before a server, so that it can be taken away without being touched.
 * @param server its port on 127.0.0.1, or where else it is: a host and port, or a unix socket's path
 */
export async function startTcpProxy(server: number | NetConnectOpts): Promise<TcpProxy> {
  let passage: Passage = 'pass';
  let target: NetConnectOpts = typeof server === 'number' ? { host: '127.0.0.1', port: server } : server;
  const open = new Set<[Socket, Socket]>();
  const listener = createServer((client) => {
    if (passage === 'refuse') {
      client.on('error', () => undefined);
      client.resetAndDestroy();
      return;
    }
    const upstream = createConnection(target);
    for (const socket of [client, upstream]) socket.setNoDelay(true);
    const pair: [Socket, Socket] = [client, upstream];
    open.add(pair);
    const end = () => {
      open.delete(pair);
      client.destroy();
      upstream.destroy();
    };
    for (const socket of pair) socket.on('error', end).on('close', end);
    client.pipe(upstream);
    upstream.pipe(client);
    if (passage === 'silent') hold(pair);
  });
  await new Promise<void>((done) => listener.listen(0, '127.0.0.1', done));
  const set = (next: Passage) => {
    passage = next;
    for (const pair of open) {
      if (next === 'refuse') for (const socket of pair) reset(socket);
      else if (next === 'silent') hold(pair);
      else release(pair);
    }
  };
  return {
    port: (listener.address() as AddressInfo).port,
    set,
    target: (port) => {
      target = { host: '127.0.0.1', port };
    },
    stop: async () => {
      const closed = new Promise((done) => listener.close(done));
      set('refuse');
      await closed;
    },
  };
}

/** Before the Postgres of a URL, over TCP or in the folder of a unix socket; with the URL by this way. */
export async function startPostgresProxy(url: string): Promise<TcpProxy & { url: string }> {
  const target = new URL(url);
  const port = Number(target.port || 5432);
  const folder = target.searchParams.get('host');
  const proxy = await startTcpProxy(
    folder?.startsWith('/') ? { path: `${folder}/.s.PGSQL.${port}` } : { host: target.hostname, port },
  );
  target.searchParams.delete('host');
  target.hostname = '127.0.0.1';
  target.port = String(proxy.port);
  return { ...proxy, url: target.toString() };
}

/** Breaks a connection; a unix socket knows no reset. */
function reset(socket: Socket): void {
  if (socket.remoteFamily === undefined) socket.destroy();
  else socket.resetAndDestroy();
}

function hold([client, upstream]: [Socket, Socket]): void {
  client.unpipe(upstream);
  upstream.unpipe(client);
  client.pause();
  upstream.pause();
}

function release([client, upstream]: [Socket, Socket]): void {
  client.pipe(upstream);
  upstream.pipe(client);
}
