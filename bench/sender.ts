import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { Traffic } from './traffic.js';

/**
 * Posts sessions to a receiver over several connections, each waiting for its acknowledgement, and prints what it saw.
 * A process of its own, so that generating and sending aren't counted as receiving: bodies are made beforehand.
 */
const [url, token, first, sessions, connections, pace] = process.argv.slice(2);
/** Events a second at most; 0: as fast as they are acknowledged. */
const rate = Number(pace ?? 0);
const traffic = new Traffic({ lean: process.env.BENCH_MIX === 'lean' });
const numbers = Array.from({ length: Number(sessions) }, (_, i) => Number(first) + i);
const bodies = [...traffic.batches(numbers)].map(({ body, events }) => ({ body: Buffer.from(body), events }));
const agent = new Agent({ keepAlive: true, maxSockets: Number(connections) });

function post(body: Buffer): Promise<number> {
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const call = request(
      url!,
      { method: 'POST', agent, headers: { authorization: `Bearer ${token}`, 'content-length': body.length } },
      (response) => {
        response.resume();
        response.on('end', () =>
          response.statusCode === 200
            ? resolve(performance.now() - started)
            : reject(new Error(`status ${response.statusCode}`)),
        );
      },
    );
    call.on('error', reject);
    call.end(body);
  });
}

process.send?.('ready');
await new Promise((resolve) => process.once('message', resolve));
const started = performance.now();
const acks: number[] = [];
let events = 0;
let bytes = 0;
let taken = 0;
const queue = [...bodies];
await Promise.all(
  Array.from({ length: Number(connections) }, async () => {
    for (let item = queue.shift(); item; item = queue.shift()) {
      const due = rate > 0 ? started + (taken / rate) * 1000 - performance.now() : 0;
      taken += item.events;
      if (due > 0) await sleep(due);
      acks.push(await post(item.body));
      events += item.events;
      bytes += item.body.length;
    }
  }),
);
acks.sort((a, b) => a - b);
process.send?.({
  seconds: (performance.now() - started) / 1000,
  events,
  bytes,
  p50: acks[Math.floor(acks.length * 0.5)],
  p99: acks[Math.floor(acks.length * 0.99)],
});
process.disconnect?.();
agent.destroy();
