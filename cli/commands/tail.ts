import type { Command } from 'commander';
import { createContext, type GlobalFlags, writeStructured } from '../context.js';
import { CliError } from '../exit.js';
import { type Change, renderChanges } from '../render/changes.js';
import { addFilters, type FilterFlags, filterQuery, writeChanges } from './changes.js';

const POLL_MS = 1000;
const PAGE = 200;

export function tailCommand(program: Command): void {
  addFilters(
    program
      .command('tail')
      .description('the latest changes; with -f, new ones as they come')
      .argument('[TYPE[/NAME]]'),
    undefined,
  )
    .option('-f, --follow', 'go on, until interrupted')
    .addHelpText(
      'after',
      `
Examples:
  whochanged tail -f -n prod
  whochanged tail -f --kind exec -o ndjson | while read -r change; do ...`,
    )
    .action(async (ref: string | undefined, _flags: unknown, command: Command) => {
      const flags = command.optsWithGlobals<FilterFlags & GlobalFlags & { follow?: boolean }>();
      const context = createContext(flags);
      const query = filterQuery(flags, ref, undefined);
      const seqs = await context.client.get<Record<string, string>>('/v1/changes/last-seq');
      const first = await context.client.get<{ items: Change[] }>('/v1/changes', { ...query, limit: 10 });
      const items = first.items.reverse();
      if (!flags.follow) {
        if (!writeStructured(context, items, items)) writeChanges(context, items, false);
        return;
      }
      const show = (changes: Change[]) => {
        if (changes.length === 0) return;
        if (context.output === 'ndjson' || context.output === 'json')
          for (const change of changes) context.out(`${JSON.stringify(change)}\n`);
        else if (!writeStructured(context, changes, changes)) {
          // One head for the whole run: later batches go on below it.
          const text = renderChanges(changes, { ...context.view, now: Date.now() });
          context.out(shown ? text.slice(text.indexOf('\n') + 1) : text);
        }
        shown = true;
      };
      let shown = false;
      let away = false;
      show(items);
      for (;;) {
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
        try {
          const clusters = Object.keys(
            await context.client.get<Record<string, string>>('/v1/changes/last-seq'),
          ).filter((name) => flags.cluster === undefined || name === flags.cluster);
          for (const cluster of clusters) {
            const page = await context.client.get<{ items: Change[]; next: string }>('/v1/changes', {
              ...query,
              cluster,
              after_seq: seqs[cluster] ?? '0',
              limit: PAGE,
            });
            seqs[cluster] = page.next;
            show(page.items);
          }
          if (away) context.err('connected again\n');
          away = false;
        } catch (error) {
          // A restart of the server is no reason to stop watching; a wrong token is.
          if (!(error instanceof CliError) || error.exitCode !== 5) throw error;
          if (!away) context.err(`${error.message}; trying on\n`);
          away = true;
        }
      }
    });
}
