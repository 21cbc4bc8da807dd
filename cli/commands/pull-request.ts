import type { Command } from 'commander';
import { createContext, type GlobalFlags, writeStructured } from '../context.js';
import { examples } from '../examples.js';
import { CliError, EXIT } from '../exit.js';
import { type PersonItem, personText } from '../person.js';
import { clock, safe } from '../render/text.js';

interface PullRequest {
  repo: string;
  number: number;
  title: string;
  url: string;
  state: string;
  author: PersonItem;
  lastPusher?: PersonItem;
  lastPushedAt?: string;
  baseRef: string;
  headSha: string;
  commits: Array<{ sha: string; author: PersonItem; committer: PersonItem; coAuthors?: PersonItem[] }>;
  createdAt: string;
  mergedAt?: string;
  mergedBy?: PersonItem;
  mergeSha?: string;
  mergeMethod?: string;
  requiredApprovals?: number;
  reviews: Array<{
    reviewer: PersonItem;
    state: string;
    submittedAt: string;
    sha?: string;
    dismissedAt?: string;
    dismissedBy?: PersonItem;
    permission?: string;
  }>;
  bypass?: { actor: PersonItem; at: string; rule: string };
  syncedAt: string;
}

function readName(value: string): { repo: string; number: string } {
  const [, repo, number] = /^([^#!/]+)[#!](\d{1,9})$/.exec(value) ?? [];
  if (repo === undefined || number === undefined)
    throw new CliError(
      EXIT.usage,
      `${value}: expected REPO#NUMBER`,
      "quote it: 'shop#7', the repository by its name in whochanged",
    );
  return { repo, number };
}

export function pullRequestCommand(program: Command): void {
  const command = program
    .command('pr')
    .description('what the host told of a pull request, merge request or change')
    .argument('<REPO#NUMBER>', 'the repository by its name in whochanged', readName);
  examples(command, [["pr 'shop#7'", 'who wrote, pushed, reviewed and merged it']]).action(
    async ({ repo, number }: ReturnType<typeof readName>, _flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>(), 'one');
      const item = await context.client.get<PullRequest>(
        `/v1/repos/${encodeURIComponent(repo)}/pull-requests/${number}`,
      );
      if (!writeStructured(context, item)) context.out(render(item, context.view.utc));
    },
  );
}

function render(item: PullRequest, utc: boolean): string {
  const line = (head: string, text: string) => `${`${head}:`.padEnd(10)}${safe(text)}\n`;
  const when = (time: string | undefined) => (time === undefined ? '' : `, ${clock(time, utc)}`);
  let text = line(`${item.repo}#${item.number}`, item.title).replace(':', ' ') + line('URL', item.url);
  text += line('State', `${item.state}, into ${item.baseRef}`);
  text += line('Author', `${personText(item.author)}${when(item.createdAt)}`);
  if (item.lastPusher)
    text += line('Pushed', `${item.headSha} by ${personText(item.lastPusher)}${when(item.lastPushedAt)}`);
  else text += line('Head', item.headSha);
  for (const { sha, author, committer, coAuthors = [] } of item.commits) {
    const others = [committer, ...coAuthors].map(personText).filter((name) => name !== personText(author));
    const more = others.length > 0 ? `, with ${[...new Set(others)].join(', ')}` : '';
    text += line('Commit', `${sha.slice(0, 12)} by ${personText(author)}${more}`);
  }
  for (const review of item.reviews) {
    const may = review.permission === undefined ? '' : `, may ${review.permission}`;
    const of = review.sha === undefined ? '' : ` on ${review.sha.slice(0, 12)}`;
    const by = review.dismissedBy ? ` by ${personText(review.dismissedBy)}` : '';
    const ended = review.dismissedAt === undefined ? '' : `; dismissed${by}${when(review.dismissedAt)}`;
    text += line(
      'Review',
      `${review.state}${of} by ${personText(review.reviewer)}${may}${when(review.submittedAt)}${ended}`,
    );
  }
  if (item.requiredApprovals !== undefined)
    text += line('Rule', `${item.requiredApprovals} approvals were asked for`);
  if (item.mergedAt !== undefined) {
    const by = item.mergedBy ? ` by ${personText(item.mergedBy)}` : '';
    const how = item.mergeMethod === undefined ? '' : ` (${item.mergeMethod})`;
    text += line('Merged', `as ${item.mergeSha ?? 'an unknown commit'}${how}${by}${when(item.mergedAt)}`);
  }
  if (item.bypass)
    text += line('Bypass', `${item.bypass.rule} by ${personText(item.bypass.actor)}${when(item.bypass.at)}`);
  return text + line('As of', clock(item.syncedAt, utc));
}
