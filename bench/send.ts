import { fork } from 'node:child_process';
import { join } from 'node:path';

/** What a sender saw; milliseconds from a post to its acknowledgement. */
export interface Sent {
  seconds: number;
  events: number;
  bytes: number;
  p50: number;
  p99: number;
}

/** Posts so many sessions of traffic, from the first on, over so many connections, from a process of its own; at most `pace` events a second. */
export function send(
  url: string,
  token: string,
  first: number,
  count: number,
  connections: number,
  pace = 0,
): Promise<Sent> {
  const child = fork(
    join(import.meta.dirname, 'sender.ts'),
    [url, token, String(first), String(count), String(connections), String(pace)],
    { execArgv: ['--import', 'tsx', '--max-old-space-size=6000'] },
  );
  return new Promise((resolve, reject) => {
    child.on('message', (message) => (message === 'ready' ? child.send('go') : resolve(message as Sent)));
    child.on('exit', (code) => code !== 0 && reject(new Error(`the sender failed: ${code}`)));
  });
}
