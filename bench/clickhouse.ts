import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../test/harness/free-port.js';

const START_MS = 60_000;
/** As many as DuckDB is given. */
const THREADS = 2;

/** How its columns' files are compressed: what it does by itself, and what takes fewer bytes. */
export type Compression = 'lz4' | 'zstd';

/** Why it isn't measured. */
export const NO_CLICKHOUSE = 'no clickhouse-server is on the PATH';

/** A ClickHouse server of our own, asked over HTTP. */
export interface ClickHouse {
  version: string;
  /** Runs a statement. Returns the text that it answers. @throws Error with the server's words */
  run(sql: string, rows?: Uint8Array): Promise<string>;
  /** Leaves its folder as it is. */
  stop(): Promise<void>;
}

/** The command that starts a server, its package installed; undefined where none is on the PATH. */
export function clickhouseCommand(): string[] | undefined {
  const found = (name: string) =>
    (process.env.PATH ?? '')
      .split(':')
      .map((folder) => join(folder, name))
      .find(existsSync);
  const server = found('clickhouse-server');
  if (server) return [server];
  // What its makers publish is one program for everything.
  const everything = found('clickhouse');
  return everything === undefined ? undefined : [everything, 'server'];
}

/**
 * Starts one with all that it has in this folder, on loopback and a free port, and waits until it answers. What is in the
 * folder already, it goes on with.
 */
export async function startClickhouse(
  folder: string,
  compression: Compression = 'lz4',
  command = clickhouseCommand(),
): Promise<ClickHouse> {
  if (!command) throw new Error(NO_CLICKHOUSE);
  const root = resolve(folder);
  const port = await freePort();
  await mkdir(root, { recursive: true });
  await writeFile(join(root, 'users.xml'), USERS);
  await writeFile(join(root, 'config.xml'), configOf(root, port, compression));
  const [program, ...arguments_] = command;
  const child = spawn(program!, [...arguments_, `--config-file=${join(root, 'config.xml')}`], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  child.once('error', (error) => (said += error.message));
  // Else it would outlive a bench that breaks off.
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const url = `http://127.0.0.1:${port}/`;
  const stop = async () => {
    await ended(child);
    process.off('exit', kill);
  };
  for (const until = Date.now() + START_MS; ; await sleep(100)) {
    if (await fetch(url).catch(() => undefined)) break;
    if (child.exitCode === null && child.pid !== undefined && Date.now() < until) continue;
    await stop();
    throw new Error(`ClickHouse did not start: ${said}`);
  }
  const run = (sql: string, rows?: Uint8Array) => ask(url, sql, rows);
  return { version: (await run('select version()')).trim(), run, stop };
}

/** Takes all that a server had off the disk, once it is stopped. */
export async function removeClickhouse(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
}

async function ask(url: string, sql: string, rows?: Uint8Array): Promise<string> {
  const answer = await (rows
    ? fetch(`${url}?query=${encodeURIComponent(sql)}`, { method: 'POST', body: rows })
    : fetch(url, { method: 'POST', body: sql }));
  const text = await answer.text();
  if (!answer.ok) throw new Error(`ClickHouse: ${text.trim()}`);
  return text;
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((done) => child.once('exit', done));
  child.kill();
  await exited;
}

/** Merged parts go at once, since what is left of them would count for nothing but be on the disk for minutes. */
const configOf = (root: string, port: number, compression: Compression) => `<yandex>
  <logger><level>error</level><console>true</console></logger>
  <listen_host>127.0.0.1</listen_host>
  <http_port>${port}</http_port>
  <path>${root}/data/</path>
  <tmp_path>${root}/tmp/</tmp_path>
  <user_files_path>${root}/files/</user_files_path>
  <format_schema_path>${root}/schemas/</format_schema_path>
  <users_config>${root}/users.xml</users_config>
  <default_profile>default</default_profile>
  <default_database>default</default_database>
  <mark_cache_size>268435456</mark_cache_size>
  <merge_tree><old_parts_lifetime>1</old_parts_lifetime></merge_tree>
  <compression>
    <case>
      <min_part_size>0</min_part_size>
      <min_part_size_ratio>0</min_part_size_ratio>
      <method>${compression}</method>
    </case>
  </compression>
</yandex>
`;

/** One user, from loopback alone. Dictionaries of repeated strings were an experiment until 19.x. */
const USERS = `<yandex>
  <profiles>
    <default>
      <max_threads>${THREADS}</max_threads>
      <background_pool_size>${THREADS}</background_pool_size>
      <allow_experimental_low_cardinality_type>1</allow_experimental_low_cardinality_type>
    </default>
  </profiles>
  <users>
    <default>
      <password></password>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
    </default>
  </users>
  <quotas><default></default></quotas>
</yandex>
`;
