import { connect, type Socket } from 'node:net';

export interface RawExchange {
  /** Everything the server said, in Latin-1, so that no byte is lost. */
  answer: string;
  /** Status codes of the responses in it, in order. */
  statuses: number[];
  /** The server ended the connection; else we did, after the wait. */
  closed: boolean;
  milliseconds: number;
}

/**
 * Writes bytes into a TCP connection as they are, right or wrong, and takes what comes back until the server closes or
 * nothing has come for `quietMs`. `pauseMs` lies between two pieces.
 */
export async function exchange(
  base: string,
  pieces: ReadonlyArray<string | Buffer>,
  { pauseMs = 0, quietMs = 500 }: { pauseMs?: number; quietMs?: number } = {},
): Promise<RawExchange> {
  const { hostname, port } = new URL(base);
  const started = performance.now();
  const socket: Socket = connect(Number(port), hostname);
  let answer = '';
  let closed = false;
  let heard = performance.now();
  socket.setEncoding('latin1').on('data', (text: string) => {
    answer += text;
    heard = performance.now();
  });
  // A server that refuses may reset while we still write.
  socket.on('error', () => undefined);
  const ended = new Promise<void>((done) =>
    socket.once('close', () => {
      closed = true;
      done();
    }),
  );
  for (const piece of pieces) {
    if (closed) break;
    await new Promise<void>((done) => {
      if (socket.write(typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece)) done();
      else {
        socket.once('drain', done);
        socket.once('close', () => done());
      }
    });
    heard = performance.now();
    if (pauseMs > 0) await Promise.race([ended, new Promise((done) => setTimeout(done, pauseMs))]);
  }
  while (!closed && performance.now() - heard < quietMs)
    await Promise.race([ended, new Promise((done) => setTimeout(done, 20))]);
  const wasClosed = closed;
  socket.destroy();
  const statuses = [...answer.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]));
  return { answer, statuses, closed: wasClosed, milliseconds: performance.now() - started };
}
