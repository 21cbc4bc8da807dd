import { createHash } from 'node:crypto';
import { createReadStream, statSync } from 'node:fs';
import { Transform } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import type { Command } from 'commander';
import { type Context, createContext, type GlobalFlags, writeStructured } from '../context.js';
import { examples } from '../examples.js';
import { CliError, EXIT } from '../exit.js';
import { Progress } from '../render/progress.js';
import { writeTable } from './lists.js';
import type { Trouble } from './s3-sources.js';

interface ImportFlags extends GlobalFlags {
  source?: string;
  cluster?: string;
  format?: string;
}

interface Answer {
  source: string;
  known: boolean;
  events: number;
  duplicates: number;
  quarantined: number;
  skipped: number;
  trouble?: Trouble;
}

interface Imported {
  file: string;
  result: 'imported' | 'known' | 'damaged' | 'failed';
  events: number;
  new: number;
  duplicates: number;
  quarantined: number;
  skipped: number;
  problem: string;
}

/** A connection that breaks is taken up again so often; what has arrived is recognised. */
const ATTEMPTS = 5;
const FIRST_WAIT_MS = 1000;
/** A file that another request was sending when its connection broke is free again after a minute. */
const BUSY_MS = 90_000;

export function importCommand(program: Command): void {
  const command = program
    .command('import')
    .description('import audit logs from files: any known format, gzip, zstd or plain; - is stdin')
    .argument('<FILE...>', 'a file that was imported before is passed over')
    .option('--cluster <cluster>', 'the cluster that the events are of')
    .option('--source <source>', 'or a source, to complete what it sent')
    .option('--format <format>', 'of the files (default: detected in each)');
  examples(command, [
    ['import /var/log/kubernetes/audit/*.log --cluster prod', 'the logs of an apiserver, rotated ones too'],
    ['import audit.log.gz --source prod-a', 'what the webhook of prod-a missed'],
    ['import - --cluster prod < audit.log', 'from stdin'],
  ]).action(async (files: string[], _flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<ImportFlags>();
    const context = createContext(flags);
    if ((flags.source === undefined) === (flags.cluster === undefined))
      throw new CliError(EXIT.usage, 'say either --cluster or --source', 'which events are these?');
    const sizes = files.map(sizeOf);
    const total = sizes.some((size) => size === undefined)
      ? undefined
      : sizes.reduce<number>((sum, size) => sum + size!, 0);
    const imported = await importAll(context, files, flags, new Meter(total, files.length));
    if (context.output === 'table' || context.output === 'wide') writeSummary(context, imported);
    else
      writeStructured(
        context,
        { items: imported },
        imported.map((row) => ({ ...row, name: row.file })),
      );
    const bad = imported.filter(({ result }) => result === 'failed' || result === 'damaged');
    if (bad.length > 0)
      throw new CliError(
        EXIT.failed,
        bad.map(({ file, problem }) => `${file}: ${problem}`).join('\n'),
        'the others are imported; the same command again goes on with what is left',
      );
  });
}

function sizeOf(file: string): number | undefined {
  if (file === '-') return undefined;
  try {
    const stat = statSync(file);
    if (!stat.isFile()) throw new Error('it is no file');
    return stat.size;
  } catch (error) {
    throw new CliError(EXIT.usage, `cannot read ${file}: ${reasonOf(error)}`);
  }
}

async function importAll(
  context: Context,
  files: string[],
  flags: ImportFlags,
  meter: Meter,
): Promise<Imported[]> {
  const imported: Imported[] = [];
  try {
    for (const file of files) imported.push(await importOne(context, file, flags, meter));
  } finally {
    meter.stop();
  }
  return imported;
}

/** One file that fails doesn't cost the others, unless nothing can succeed. */
async function importOne(
  context: Context,
  file: string,
  flags: ImportFlags,
  meter: Meter,
): Promise<Imported> {
  meter.begin(file);
  try {
    const answer =
      file === '-' ? await sendStdin(context, flags, meter) : await sendFile(context, file, flags, meter);
    const { known, events, duplicates, quarantined, skipped, trouble } = answer;
    return {
      file,
      result: trouble ? 'damaged' : known ? 'known' : 'imported',
      events,
      new: known ? 0 : events - duplicates,
      duplicates,
      quarantined,
      skipped,
      problem: trouble?.message ?? '',
    };
  } catch (error) {
    if (error instanceof CliError && [EXIT.auth, EXIT.usage, EXIT.notFound].includes(error.exitCode as never))
      throw error;
    const problem = (error as Error).message;
    return { file, result: 'failed', events: 0, new: 0, duplicates: 0, quarantined: 0, skipped: 0, problem };
  } finally {
    meter.end();
  }
}

async function sendFile(context: Context, file: string, flags: ImportFlags, meter: Meter): Promise<Answer> {
  const { source, cluster, format } = flags;
  const { sha256, size } = await digest(file);
  const before = await context.client.get<{ imported: boolean }>(`/v1/imports/${sha256}`, {
    source,
    cluster,
  });
  if (before.imported) {
    meter.pass(size);
    return { source: source ?? '', known: true, events: 0, duplicates: 0, quarantined: 0, skipped: 0 };
  }
  const query = { source, cluster, format, name: file, sha256, size };
  const busyUntil = Date.now() + BUSY_MS;
  for (let attempt = 1; ; ) {
    meter.restart();
    const counted = meter.counting();
    const body = createReadStream(file, { highWaterMark: 256 * 1024 });
    body.on('error', (error) => counted.destroy(error));
    try {
      return await context.client.upload<Answer>('/v1/imports', query, body.pipe(counted));
    } catch (error) {
      if (!(error instanceof CliError) || error.exitCode !== EXIT.failed) throw error;
      const wait = (error.retryAfter ?? 0) * 1000;
      if (wait > 0 && Date.now() + wait < busyUntil) {
        await pause(wait);
      } else {
        if (attempt >= ATTEMPTS) throw error;
        await pause(FIRST_WAIT_MS * 2 ** (attempt++ - 1));
      }
    } finally {
      body.destroy();
    }
  }
}

function sendStdin(
  context: Context,
  { source, cluster, format }: ImportFlags,
  meter: Meter,
): Promise<Answer> {
  const query = { source, cluster, format, name: 'stdin' };
  return context.client.upload<Answer>('/v1/imports', query, process.stdin.pipe(meter.counting()));
}

async function digest(file: string): Promise<{ sha256: string; size: number }> {
  const hash = createHash('sha256');
  let size = 0;
  for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 })) {
    hash.update(chunk as Buffer);
    size += (chunk as Buffer).length;
  }
  return { sha256: hash.digest('hex'), size };
}

/** How far all files together are. */
class Meter {
  readonly #progress = new Progress('import');
  readonly #total: number | undefined;
  readonly #files: number;
  #finished = 0;
  #before = 0;
  #current = 0;
  #file = '';

  constructor(total: number | undefined, files: number) {
    this.#total = total;
    this.#files = files;
  }

  begin(file: string): void {
    this.#file = file;
    this.#current = 0;
  }

  end(): void {
    this.#finished++;
    this.#before += this.#current;
    this.#current = 0;
    this.#show();
  }

  /** The file is known. */
  pass(size: number): void {
    this.#current = size;
  }

  /** The file is sent again from its beginning. */
  restart(): void {
    this.#current = 0;
  }

  /** What passes through is on its way. */
  counting(): Transform {
    return new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        this.#current += chunk.length;
        this.#show();
        done(null, chunk);
      },
    });
  }

  stop(): void {
    this.#progress.stop();
  }

  #show(): void {
    const note =
      this.#files > 1 ? `file ${Math.min(this.#finished + 1, this.#files)} of ${this.#files}` : this.#file;
    this.#progress.update({ done: this.#before + this.#current, total: this.#total, note });
  }
}

function writeSummary(context: Context, imported: Imported[]): void {
  writeTable(context, imported, [
    { head: 'FILE', value: (row) => row.file, most: 60 },
    { head: 'RESULT', value: (row) => row.result },
    { head: 'EVENTS', value: (row) => String(row.events) },
    { head: 'NEW', value: (row) => String(row.new) },
    { head: 'DUPLICATES', value: (row) => String(row.duplicates) },
    { head: 'QUARANTINED', value: (row) => String(row.quarantined) },
    { head: 'SKIPPED', value: (row) => String(row.skipped) },
    { head: 'PROBLEM', value: (row) => row.problem, flexible: true },
  ]);
}

function reasonOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? (error as Error).message;
}
