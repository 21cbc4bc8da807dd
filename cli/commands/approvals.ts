import type { Command } from 'commander';
import { createContext, type GlobalFlags, wholeNumber } from '../context.js';
import { examples } from '../examples.js';
import { importRecords } from '../import-records.js';
import { type PersonItem, personText } from '../person.js';
import { clock } from '../render/text.js';
import { writeTable } from './lists.js';

interface Approval {
  id: string;
  origin: string;
  repo?: string;
  sha?: string;
  image?: string;
  change?: string;
  approver: PersonItem;
  approvedAt: string;
}

function subjectOf({ repo, sha, image, change }: Approval): string {
  return sha === undefined ? (image ?? change ?? '') : `${repo}@${sha}`;
}

export function approvalCommands(program: Command): void {
  const approval = program.command('approval').description('approvals that other systems told');
  examples(approval, [
    ['approval import approvals.csv', 'take them from a file'],
    ['approval list', 'the latest'],
  ]);

  const list = approval
    .command('list', { isDefault: true })
    .description('the latest first')
    .option('--origin <origin>', 'only what came by this way')
    .option('--subject <id>', "only of this commit's SHA, image's digest or change")
    .option('--limit <n>', 'at most this many', wholeNumber('--limit', 1, 1000), 50);
  examples(list, [['approval list --limit 10', 'the last ten']]).action(
    async (_flags: unknown, called: Command) => {
      const flags = called.optsWithGlobals<
        GlobalFlags & { origin?: string; subject?: string; limit: number }
      >();
      const context = createContext(flags);
      const { origin, subject, limit } = flags;
      const { items } = await context.client.get<{ items: Approval[] }>('/v1/approvals', {
        origin,
        subject,
        limit,
      });
      writeTable(context, items, [
        { head: 'WHEN', value: (row) => clock(row.approvedAt, context.view.utc) },
        { head: 'APPROVER', value: (row) => personText(row.approver) },
        { head: 'ORIGIN', value: (row) => row.origin },
        { head: 'ID', value: (row) => row.id },
        { head: 'OF', value: subjectOf, flexible: true },
      ]);
    },
  );

  const load = approval
    .command('import')
    .description('take approvals from a file, CSV or JSON')
    .argument('<FILE>', 'with id, repo and sha (or image, or change), approver, approvedAt');
  examples(load, [['approval import approvals.csv', 'says of each line that is left out why']]).action(
    async (file: string, _flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>(), 'one');
      await importRecords(context, file, '/v1/approvals/import');
    },
  );
}
