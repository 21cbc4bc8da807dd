import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { pino } from 'pino';
import { expect, it } from 'vitest';
import { buildServer } from '../../main/server.js';

it('takes the connection from a reader of a streamed answer that reads nothing, and from no other', async () => {
  const ended: string[] = [];
  async function* endless(name: string) {
    try {
      for (;;) yield Buffer.alloc(65_536, '.');
    } finally {
      ended.push(name);
    }
  }
  const server = await buildServer({
    log: pino({ level: 'silent' }),
    tls: undefined,
    timeouts: { headersSeconds: 20, bodySeconds: 300, stalledSeconds: 2 },
    webhook: undefined,
    registerApi: async (root) => {
      root.get<{ Params: { name: string } }>('/endless/:name', async ({ params }, reply) =>
        reply.type('text/plain').send(Readable.from(endless(params.name))),
      );
    },
  });
  const port = Number(new URL(await server.listen({ host: '127.0.0.1', port: 0 })).port);
  const ask = (name: string) => {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    socket.write(`GET /endless/${name} HTTP/1.1\r\nHost: x\r\n\r\n`);
    return socket;
  };
  const stalled = ask('stalled').pause();
  const slow = ask('slow');
  // Reads a part of the time: what the kernel holds for it comes to an end between two looks.
  const reading = setInterval(() => {
    slow.resume();
    setTimeout(() => slow.pause(), 50);
  }, 200);
  try {
    await expect.poll(() => ended, { timeout: 20_000 }).toEqual(['stalled']);
    await new Promise((done) => setTimeout(done, 3000));
    expect(ended).toEqual(['stalled']);
  } finally {
    clearInterval(reading);
    stalled.destroy();
    slow.destroy();
    await server.close();
  }
});
