import type { AddressInfo } from 'node:net';
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

/** Stands before a server on 127.0.0.1, so that it can be taken away without being touched. */
export async function startTcpProxy(targetPort: number): Promise<TcpProxy> {
  let passage: Passage = 'pass';
  let target = targetPort;
  const open = new Set<[Socket, Socket]>();
  const server = createServer((client) => {
    if (passage === 'refuse') {
      client.on('error', () => undefined);
      client.resetAndDestroy();
      return;
    }
    const upstream = createConnection({ host: '127.0.0.1', port: target, noDelay: true });
    client.setNoDelay(true);
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
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const set = (next: Passage) => {
    passage = next;
    for (const pair of open) {
      if (next === 'refuse') for (const socket of pair) socket.resetAndDestroy();
      else if (next === 'silent') hold(pair);
      else release(pair);
    }
  };
  return {
    port: (server.address() as AddressInfo).port,
    set,
    target: (port) => {
      target = port;
    },
    stop: async () => {
      const closed = new Promise((done) => server.close(done));
      set('refuse');
      await closed;
    },
  };
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
