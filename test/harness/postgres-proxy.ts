import { type AddressInfo, createServer, connect as dial, type Server, type Socket } from 'node:net';

/** A way to a Postgres that can be cut: then connections break, and new ones are refused. */
export interface PostgresProxy {
  /** The database's URL by this way. */
  url: string;
  cut(): Promise<void>;
  restore(): Promise<void>;
  stop(): Promise<void>;
}

/** @param url of a database, over TCP or in the folder of a unix socket */
export async function startPostgresProxy(url: string): Promise<PostgresProxy> {
  const target = new URL(url);
  const folder = target.searchParams.get('host');
  const sockets = new Set<Socket>();
  const open = () =>
    createServer((client) => {
      const server = folder?.startsWith('/')
        ? dial(`${folder}/.s.PGSQL.${target.port || 5432}`)
        : dial(Number(target.port || 5432), target.hostname);
      for (const [one, other] of [
        [client, server],
        [server, client],
      ] as const) {
        sockets.add(one);
        one.on('error', () => other.destroy());
        one.on('close', () => {
          sockets.delete(one);
          other.destroy();
        });
        one.pipe(other);
      }
    });
  const listen = (server: Server, port: number) =>
    new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  let server = open();
  await listen(server, 0);
  const { port } = server.address() as AddressInfo;
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
  const through = new URL(url);
  through.hostname = '127.0.0.1';
  through.port = String(port);
  through.searchParams.delete('host');
  return {
    url: through.toString(),
    cut: close,
    restore: async () => {
      server = open();
      await listen(server, port);
    },
    stop: close,
  };
}
