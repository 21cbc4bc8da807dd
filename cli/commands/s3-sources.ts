import { type Command, Option } from 'commander';
import {
  type Context,
  createContext,
  type GlobalFlags,
  timeOption,
  wholeNumber,
  writeStructured,
} from '../context.js';
import { examples } from '../examples.js';
import { CliError, EXIT } from '../exit.js';
import { formatBytes } from '../render/progress.js';
import { age, clock, duration, safe } from '../render/text.js';
import { type LocationFlags, locationBody, locationOptions, secondsOption } from '../s3-location.js';
import { writeTable } from './lists.js';

export interface S3SourceFlags extends GlobalFlags, LocationFlags {
  cluster: string;
  name?: string;
  sqsQueueUrl?: string;
  lookBack?: number;
  from?: string;
}

export interface Trouble {
  code: string;
  message: string;
  hint?: string;
}

interface Status {
  name: string;
  cluster: string;
  kind: string;
  state: string;
  lagSeconds: number | null;
  lastReceivedAt: string | null;
  events: number;
  duplicates: number;
  quarantined: number;
  location: {
    bucket: string;
    prefix: string;
    endpoint: string | null;
    format: string;
    queueURL: string | null;
  } | null;
  objects: Record<string, number>;
  oldestWaitingAt: string | null;
  nextRetryAt: string | null;
  listing: {
    pass: string | null;
    keys: number;
    listedAt: string | null;
    fullListedAt: string | null;
    dueAt: string;
    error: Trouble | null;
    errorAt: string | null;
  } | null;
  skipped: number;
  salvaged: number;
  queue: { polledAt: string | null; error: Trouble | null } | null;
  lastError: { key: string; state: string; attempts: number; at: string; error: Trouble } | null;
  spool: { bytes: number } | null;
}

interface SourceObject {
  key: string;
  size: number | null;
  lastModified: string;
  state: string;
  attempts: number;
  events: number;
  duplicates: number;
  quarantined: number;
  error: Trouble | null;
}

/** What of an s3 source can be said when it is added. */
export function s3SourceOptions(command: Command): void {
  locationOptions(command)
    .option('--name <name>', 'of an s3 source (default: made of bucket and prefix)')
    .option('--sqs-queue-url <url>', 'a queue with the bucket\u2019s notifications')
    .option(
      '--look-back <duration>',
      'late keys are looked for so far back (default 24h)',
      secondsOption('--look-back'),
    )
    .option('--from <time>', 'pass over what is older', timeOption('--from'));
}

/** Options that mean nothing for an apiserver. */
export function refuseS3Options(flags: S3SourceFlags): void {
  const given = (
    [
      'format',
      'region',
      'endpoint',
      'pathStyle',
      'roleArn',
      'externalId',
      'profile',
      'name',
      'sqsQueueUrl',
      'lookBack',
      'from',
    ] as const
  ).find((name) => flags[name] !== undefined);
  if (given === undefined) return;
  const flag = given.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  throw new CliError(EXIT.usage, `--${flag} is for a bucket`, 'write it like s3://BUCKET/PREFIX');
}

export async function addS3Source(url: string, flags: S3SourceFlags): Promise<void> {
  const context = createContext(flags, 'one');
  const source = await context.client.post<{ name: string; cluster: string }>('/v1/sources/s3', {
    ...locationBody(url, flags),
    name: flags.name,
    cluster: flags.cluster,
    sqsQueueURL: flags.sqsQueueUrl,
    lookBackSeconds: flags.lookBack,
    from: flags.from,
  });
  if (writeStructured(context, source)) return;
  context.out(`${source.name}\n`);
  context.err(
    `It is read and followed from now on. How far it is: whochanged source status ${source.name}\n`,
  );
}

export function s3SourceCommands(source: Command): void {
  statusCommand(source);
  objectsCommand(source);
  retryCommand(source);
}

function statusCommand(source: Command): void {
  const command = source
    .command('status')
    .description('how far each source is: lag, objects by state, what is wrong, the next retry')
    .argument('[NAME]', 'as `source list` shows it');
  examples(command, [
    ['source status', 'all of them'],
    ['source status audit-logs-prod', 'one, in full'],
  ]).action(async (name: string | undefined, _flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<GlobalFlags>();
    if (name !== undefined) return showStatus(createContext(flags, 'one'), name);
    const context = createContext(flags);
    const { items } = await context.client.get<{ items: Status[] }>('/v1/sources/status');
    writeTable(context, items, [
      { head: 'NAME', value: (row) => row.name },
      { head: 'CLUSTER', value: (row) => row.cluster },
      { head: 'KIND', value: (row) => row.kind },
      { head: 'STATE', value: (row) => row.state },
      { head: 'LAG', value: (row) => (row.lagSeconds === null ? '' : duration(row.lagSeconds)) },
      { head: 'OBJECTS', value: (row) => countsText(row.objects) },
      { head: 'EVENTS', value: (row) => String(row.events) },
      { head: 'QUARANTINED', value: (row) => String(row.quarantined) },
      { head: 'SALVAGED', value: (row) => String(row.salvaged) },
      {
        head: 'RETRY',
        value: (row) => (row.nextRetryAt ? until(row.nextRetryAt, context.view.now) : ''),
      },
      { head: 'WRONG', value: (row) => troubleOf(row)?.message ?? '', flexible: true },
    ]);
  });
}

function troubleOf(row: Status): Trouble | null {
  return row.listing?.error ?? row.queue?.error ?? row.lastError?.error ?? null;
}

function countsText(objects: Record<string, number>): string {
  return Object.entries(objects)
    .map(([state, count]) => `${count} ${state}`)
    .join(', ');
}

function until(at: string, now: number): string {
  const seconds = (Date.parse(at) - now) / 1000;
  return seconds <= 0 ? 'now' : `in ${duration(seconds)}`;
}

async function showStatus(context: Context, name: string): Promise<void> {
  const status = await context.client.get<Status>(`/v1/sources/${encodeURIComponent(name)}/status`);
  if (writeStructured(context, status)) return;
  const { now, utc, colors } = context.view;
  const line = (label: string, value: string | null | undefined) => {
    if (value) context.out(`${colors.bold(`${label}:`.padEnd(13))}${safe(value)}\n`);
  };
  const { location, listing, queue, lastError } = status;
  line('Source', `${status.name} (${status.kind}) of cluster ${status.cluster}`);
  line('State', status.state);
  line(
    'Location',
    location &&
      `s3://${location.bucket}/${location.prefix}${location.endpoint ? ` at ${location.endpoint}` : ''}, format ${location.format}`,
  );
  line('Lag', status.lagSeconds === null ? null : duration(status.lagSeconds));
  line('Last event', status.lastReceivedAt && `received ${age(status.lastReceivedAt, now)} ago`);
  line('Events', `${status.events}, ${status.duplicates} duplicates, ${status.quarantined} quarantined`);
  if (status.skipped + status.salvaged > 0)
    line('Records', `${status.skipped} skipped (no audit events), ${status.salvaged} salvaged (cut off)`);
  line('Objects', countsText(status.objects));
  line('Oldest', status.oldestWaitingAt && `waits since ${clock(status.oldestWaitingAt, utc)}`);
  line('Next retry', status.nextRetryAt && until(status.nextRetryAt, now));
  if (listing) {
    const running = listing.pass
      ? `${listing.pass} pass is going on, ${listing.keys} keys so far`
      : `next ${until(listing.dueAt, now)}`;
    line(
      'Listing',
      `${listing.listedAt ? `last complete ${age(listing.listedAt, now)} ago` : 'not yet complete'}; ${running}`,
    );
  }
  line(
    'Queue',
    queue && (queue.polledAt ? `answered ${age(queue.polledAt, now)} ago` : 'has not answered yet'),
  );
  line('Spool', status.spool && `${status.spool.bytes} bytes`);
  writeTrouble(context, 'Listing fails', listing?.error);
  writeTrouble(context, 'Queue fails', queue?.error);
  if (lastError)
    writeTrouble(
      context,
      `Last error (${lastError.state}, attempt ${lastError.attempts}, ${age(lastError.at, now)} ago)`,
      lastError.error,
    );
}

function writeTrouble(context: Context, label: string, trouble: Trouble | null | undefined): void {
  if (!trouble) return;
  context.out(`\n${context.view.colors.bold(`${label}:`)} ${safe(trouble.message)}\n`);
  if (trouble.hint) context.out(`  ${safe(trouble.hint)}\n`);
}

const STATES = ['new', 'leased', 'failed', 'done', 'damaged', 'gone', 'replaced'];

function objectsCommand(source: Command): void {
  const command = source
    .command('objects')
    .description('the ledger of its objects, or of the files imported into it')
    .argument('<NAME>', 'as `source list` shows it')
    .addOption(new Option('--state <state>', 'only these').choices(STATES))
    .option('--limit <n>', 'at most this many', wholeNumber('--limit', 1, 1000), 50);
  examples(command, [
    ['source objects audit-logs-prod', 'the last written first'],
    ['source objects audit-logs-prod --state damaged', 'what could not be read whole'],
  ]).action(async (name: string, _flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<GlobalFlags & { state?: string; limit: number }>();
    const context = createContext(flags);
    const { items } = await context.client.get<{ items: SourceObject[] }>(
      `/v1/sources/${encodeURIComponent(name)}/objects`,
      { state: flags.state, limit: flags.limit },
    );
    writeTable(context, items, [
      { head: 'WRITTEN', value: (row) => `${age(row.lastModified, context.view.now)} ago` },
      { head: 'STATE', value: (row) => row.state },
      { head: 'SIZE', value: (row) => (row.size === null ? '' : formatBytes(row.size)) },
      { head: 'EVENTS', value: (row) => String(row.events) },
      { head: 'DUPLICATES', value: (row) => String(row.duplicates) },
      { head: 'QUARANTINED', value: (row) => String(row.quarantined) },
      { head: 'KEY', value: (row) => row.key, most: 60 },
      { head: 'WRONG', value: (row) => row.error?.message ?? '', flexible: true },
    ]);
  });
}

function retryCommand(source: Command): void {
  const command = source
    .command('retry')
    .description('try again at once what failed or is damaged')
    .argument('<NAME>', 'as `source list` shows it');
  examples(command, [['source retry audit-logs-prod', 'after its permissions were mended']]).action(
    async (name: string, _flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>(), 'one');
      const answer = await context.client.post<{ objects: number }>(
        `/v1/sources/${encodeURIComponent(name)}/retry`,
      );
      if (!writeStructured(context, answer)) context.out(`${answer.objects} objects are tried again\n`);
    },
  );
}
