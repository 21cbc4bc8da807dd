import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Pool } from 'pg';
import { createPool } from '../../store/database.js';

const DEBIAN = '/usr/lib/postgresql';
const NEEDED = ['initdb', 'pg_ctl', 'pg_dump', 'pg_restore', 'pg_basebackup'];

/** Where a Postgres with its backup tools is installed, as Debian's packages do; the embedded one comes without them. */
export function findPostgresTools(): string | undefined {
  if (!existsSync(DEBIAN)) return undefined;
  return readdirSync(DEBIAN)
    .sort((a, b) => Number(b) - Number(a))
    .map((version) => join(DEBIAN, version, 'bin'))
    .find((folder) => NEEDED.every((tool) => existsSync(join(folder, tool))));
}

/** Postgres doesn't run as root. */
function account(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

/** A folder with servers and backups of one test, under the account that Postgres runs as. */
export class PostgresWorkshop {
  readonly folder: string;
  readonly #tools: string;
  readonly #account = account();
  readonly #running = new Set<string>();

  private constructor(folder: string, tools: string) {
    this.folder = folder;
    this.#tools = tools;
  }

  static async open(tools: string): Promise<PostgresWorkshop> {
    const workshop = new PostgresWorkshop(await mkdtemp(join(tmpdir(), 'whochanged-backup-')), tools);
    await chmod(workshop.folder, 0o711);
    if (workshop.#account) await chown(workshop.folder, workshop.#account.uid, workshop.#account.gid);
    return workshop;
  }

  /** Runs one of Postgres' own programs. Rejects with what it said. */
  async run(tool: string, ...args: string[]): Promise<string> {
    const child = spawn(join(this.#tools, tool), args, {
      cwd: this.folder,
      // pg_ctl's server would keep pipes open.
      stdio: tool === 'pg_ctl' ? 'ignore' : ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH, LC_ALL: 'C' },
      ...this.#account,
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => (said += text));
    const code = await new Promise<number | null>((done) => child.once('close', done));
    if (code !== 0) throw new Error(`${tool} ${args.join(' ')} ended with ${code}: ${said}`);
    return said;
  }

  /** A new server whose WAL goes to the folder `wal`. */
  async create(name: string): Promise<void> {
    await this.run(
      'initdb',
      '-D',
      join(this.folder, name),
      '-U',
      'whochanged',
      '-A',
      'trust',
      '-E',
      'UTF8',
      '-N',
    );
    await this.makeFolder('wal');
    await this.configure(name, {
      archive_mode: 'on',
      archive_command: `cp %p ${join(this.folder, 'wal')}/%f`,
      wal_level: 'replica',
    });
  }

  async configure(name: string, settings: Record<string, string>): Promise<void> {
    const all = { listen_addresses: '', fsync: 'off', ...settings };
    const lines = Object.entries(all).map(([key, value]) => `${key} = '${value}'\n`);
    await writeFile(join(this.folder, name, 'postgresql.auto.conf'), lines.join(''), { flag: 'a' });
  }

  async makeFolder(name: string): Promise<void> {
    await mkdir(join(this.folder, name), { recursive: true });
    if (this.#account) await chown(join(this.folder, name), this.#account.uid, this.#account.gid);
  }

  async start(name: string): Promise<void> {
    const socket = `socket-${name}`;
    await this.makeFolder(socket);
    const options = `-c unix_socket_directories=${join(this.folder, socket)}`;
    const log = join(this.folder, `${name}.log`);
    await this.run(
      'pg_ctl',
      '-D',
      join(this.folder, name),
      '-w',
      '-t',
      '60',
      '-l',
      log,
      '-o',
      options,
      'start',
    );
    this.#running.add(name);
  }

  async stop(name: string): Promise<void> {
    this.#running.delete(name);
    await this.run('pg_ctl', '-D', join(this.folder, name), '-w', '-m', 'fast', 'stop');
  }

  /** Where a server is reached. */
  host(name: string): string {
    return join(this.folder, `socket-${name}`);
  }

  pool(name: string, database: string): Pool {
    return createPool({
      host: this.host(name),
      user: 'whochanged',
      database,
      poolSize: 4,
      applicationName: 'test-backup',
    });
  }

  async close(): Promise<void> {
    for (const name of [...this.#running]) await this.stop(name).catch(() => undefined);
    await rm(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }
}
