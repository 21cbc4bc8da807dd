import { randomUUID } from 'node:crypto';
import { rename } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { WhochangedError } from '../core/errors.js';

const ANSWER_TIMEOUT_MS = 2000;
const SETTLE_MS = 50;

/**
 * Makes this process the only owner of something, for as long as it lives: it listens on a unix socket at `path` (at
 * most 98 bytes: a name 9 longer is used on the way). The kernel closes the socket with the process, so nothing has to be cleaned up after a kill -9, and unlike a process
 * id it means the same in every container that shares the folder.
 * @returns a function that gives it up
 * @throws WhochangedError `conflict` while another process owns it
 */
export async function lockOwner(path: string, what: string): Promise<() => Promise<void>> {
  const mine = randomUUID();
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end(mine);
  }).unref();
  // Closing a server removes the name it was bound to, which must not be one that another process has taken.
  const own = `${path}.${mine.slice(0, 8)}`;
  await new Promise<void>((done, fail) => {
    // The folder says who may enter. A stale socket of root's must not look taken to a user who comes after.
    server.once('error', fail).listen({ path: own, readableAll: true, writableAll: true }, done);
  });
  try {
    if ((await answer(path)) !== undefined) throw inUse(what);
    await rename(own, path);
    // Two that start at the same time may both have found nobody: the one whose socket has the name goes on.
    await new Promise((done) => setTimeout(done, SETTLE_MS));
    if ((await answer(path)) !== mine) throw inUse(what);
  } catch (error) {
    server.close();
    throw error;
  }
  return () => new Promise((done) => server.close(() => done()));
}

function inUse(what: string): WhochangedError {
  return new WhochangedError('conflict', `another whochanged uses ${what}`, {
    hint: 'stop it first, or set WHOCHANGED_DATA_DIR to a folder of its own for each process',
  });
}

/** What the owner says; undefined where nobody listens. One who listens and says nothing is there all the same. */
function answer(path: string): Promise<string | undefined> {
  return new Promise((done) => {
    let said = '';
    const socket = connect(path).setEncoding('utf8').setTimeout(ANSWER_TIMEOUT_MS);
    socket.on('data', (text) => {
      said += text;
    });
    socket.once('error', ({ code }: NodeJS.ErrnoException) =>
      done(code === 'ECONNREFUSED' || code === 'ENOENT' ? undefined : said),
    );
    socket.once('close', () => done(said));
    socket.once('timeout', () => socket.destroy());
  });
}
