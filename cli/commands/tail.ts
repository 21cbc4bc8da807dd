import type { Command } from 'commander';
import type { Query } from '../client.js';
import { type Context, createContext, writeStructured } from '../context.js';
import { examples } from '../examples.js';
import { CliError, EXIT } from '../exit.js';
import { joinRef } from '../object-ref.js';
import { type Change, ChangeTable } from '../render/changes.js';
import { changesCsv } from '../render/csv.js';
import { addFilters, type FilterFlags, filterQuery, type Page, writePage } from './changes.js';

const POLL_MS = 1000;
const PAGE = 200;
const FIRST = 10;

/** The last committed change of each cluster, by its number in it. */
type Ends = Record<string, string>;

export function tailCommand(program: Command): void {
  const command = addFilters(
    program
      .command('tail')
      .description('the latest changes; with -f, new ones as they come')
      .argument('[TYPE[/NAME]]', 'such as deploy/web')
      .argument('[NAME]', 'where it was not given with the type'),
    undefined,
  ).option('-f, --follow', 'go on, until interrupted');
  examples(command, [
    ['tail -f -n prod', 'watch prod'],
    ['tail -f --kind exec -o ndjson | while read -r change; do ...', 'act on each exec'],
  ]).action(async (type: string | undefined, name: string | undefined, _flags: unknown, called: Command) => {
    const ref = type === undefined ? undefined : joinRef(type, name);
    const flags = called.optsWithGlobals<FilterFlags & { follow?: boolean }>();
    const context = createContext(flags);
    const query = filterQuery(flags, ref, undefined);
    const ends = await context.client.get<Ends>('/v1/changes/last-seq');
    const { items } = await context.client.get<Page>('/v1/changes', { ...query, limit: FIRST });
    items.reverse();
    if (flags.follow) await follow(context, query, ends, items);
    else writePage(context, { items, next: null });
  });
}

/** Writes changes as they are committed, until SIGINT or SIGTERM, which end it without an error. */
async function follow(context: Context, query: Query, ends: Ends, first: Change[]): Promise<never> {
  // What can't be followed is said at once, not when something comes.
  const place = query.class === undefined ? undefined : Object.entries(ends)[0];
  if (place) {
    const [cluster, after_seq] = place;
    await context.client.get('/v1/changes', { ...query, cluster, after_seq, limit: 1 });
  }
  if (query.all)
    context.err('what changes nothing (refused, dry runs, ...) is listed, but not followed as it comes\n');
  const write = writer(context);
  write(first);
  // What was committed between the two first questions would come again.
  const shown = new Set(first.map((change) => change.id));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(EXIT.ok));
  let away = false;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    try {
      await poll(context, query, ends, (changes) => write(changes.filter((change) => !shown.has(change.id))));
      if (away) context.err('connected again\n');
      away = false;
    } catch (error) {
      // A restart of the server is no reason to stop watching; a wrong token is.
      if (!(error instanceof CliError) || error.exitCode !== EXIT.failed) throw error;
      if (!away) context.err(`${error.message}; trying on\n`);
      away = true;
    }
  }
}

/** Everything committed since the last poll. `ends` moves on, also over what doesn't match. */
async function poll(
  context: Context,
  query: Query,
  ends: Ends,
  write: (changes: Change[]) => void,
): Promise<void> {
  const now = await context.client.get<Ends>('/v1/changes/last-seq');
  for (const [cluster, end] of Object.entries(now)) {
    if (query.cluster !== undefined && query.cluster !== cluster) continue;
    for (;;) {
      const after = ends[cluster] ?? '0';
      if (BigInt(after) >= BigInt(end)) break;
      const page = await context.client.get<{ items: Change[]; next: string }>('/v1/changes', {
        ...query,
        cluster,
        after_seq: after,
        limit: PAGE,
      });
      write(page.items);
      const full = page.items.length === PAGE;
      ends[cluster] = full || BigInt(page.next) > BigInt(end) ? page.next : end;
      if (!full) break;
    }
  }
}

/** Writes changes below each other, with one head. */
function writer(context: Context): (changes: Change[]) => void {
  const table = new ChangeTable();
  let first = true;
  return (changes) => {
    if (changes.length === 0) return;
    if (context.output === 'csv') context.out(changesCsv(changes, first));
    else if (context.output === 'json')
      for (const change of changes) context.out(`${JSON.stringify(change)}\n`);
    else if (!writeStructured(context, changes, changes))
      context.out(table.render(changes, { ...context.view, now: Date.now() }));
    first = false;
  };
}
