import type { Command } from 'commander';
import { createContext, type GlobalFlags } from '../context.js';
import { examples } from '../examples.js';
import { clock } from '../render/text.js';
import { writeTable } from './lists.js';

interface Status {
  repo: string;
  host: string;
  state: string;
  syncedAt: string | null;
  due: number;
  error: string | null;
  limits: string[];
  lastDeliveryAt: string | null;
}

export function hostCommands(program: Command): void {
  const host = program.command('host').description('the git hosts of the repositories');
  examples(host, [['host status', 'as of when pull requests are known']]);
  const status = host
    .command('status', { isDefault: true })
    .description('as of when the pull requests of each repository are known');
  examples(status, [['host status', 'and what is wrong']]).action(
    async (_flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>());
      const { items } = await context.client.get<{ items: Status[] }>('/v1/hosts');
      const time = (value: string | null) => (value === null ? 'never' : clock(value, context.view.utc));
      writeTable(
        context,
        items.map((item) => ({ ...item, name: item.repo })),
        [
          { head: 'REPO', value: (row) => row.repo },
          { head: 'HOST', value: (row) => row.host },
          { head: 'STATE', value: (row) => row.state },
          { head: 'SYNCED', value: (row) => time(row.syncedAt) },
          { head: 'DUE', value: (row) => String(row.due) },
          { head: 'WEBHOOK', value: (row) => time(row.lastDeliveryAt), optional: true },
          { head: 'PROBLEM', value: (row) => row.error ?? row.limits.join('; '), flexible: true },
        ],
      );
    },
  );
}
