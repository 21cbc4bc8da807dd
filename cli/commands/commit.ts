import type { Command } from 'commander';
import { type Context, createContext, type GlobalFlags, writeStructured } from '../context.js';
import { examples } from '../examples.js';
import { clock, safe } from '../render/text.js';

interface Person {
  name?: string;
  email?: string;
  login?: string;
}

interface Commit {
  repo: string;
  sha: string;
  parents: string[];
  author: Person;
  authoredAt: string;
  committer: Person;
  committedAt: string;
  coAuthors: Person[];
  signature: string;
  signer: string | null;
  message: string;
  changedPaths: string[];
  changedPathCount: number;
  refs: string[];
  refUpdates: Array<{
    name: string;
    kind: string;
    after: string | null;
    seenAt: string;
    pushedBy: string | null;
  }>;
}

const MOST_PATHS = 20;

export function commitCommand(program: Command): void {
  const command = program
    .command('commit')
    .description('what is known of a commit')
    .argument('<SHA>', 'its id, or at least the first 4 digits')
    .option('--repo <name>', 'only in this repository');
  examples(command, [
    ['commit 4f2a9c1', 'who wrote it, signed it and where it is'],
    ['commit 4f2a9c1 --repo shop -o json', 'for a script'],
  ]).action(async (sha: string, _flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<GlobalFlags & { repo?: string }>();
    const context = createContext(flags, 'one');
    const answer = await context.client.get<{ items: Commit[] }>(`/v1/commits/${encodeURIComponent(sha)}`, {
      repo: flags.repo,
    });
    if (
      writeStructured(
        context,
        answer,
        answer.items.map((item) => ({ ...item, name: item.sha })),
      )
    )
      return;
    for (const [i, commit] of answer.items.entries()) {
      if (i > 0) context.out('\n');
      render(context, commit);
    }
  });
}

function render(context: Context, commit: Commit): void {
  const { utc } = context.view;
  const line = (head: string, text: string) => context.out(`${`${head}:`.padEnd(12)} ${safe(text)}\n`);
  line('Commit', `${commit.sha} in ${commit.repo}`);
  line('Author', `${personText(commit.author)}, ${clock(commit.authoredAt, utc)}`);
  line('Committer', `${personText(commit.committer)}, ${clock(commit.committedAt, utc)}`);
  for (const person of commit.coAuthors) line('With', personText(person));
  line('Signature', commit.signer === null ? commit.signature : `${commit.signature}, ${commit.signer}`);
  line('Parents', commit.parents.map((sha) => sha.slice(0, 12)).join(', ') || 'none');
  line('Refs', commit.refs.join(', ') || 'none points at it');
  for (const update of commit.refUpdates) {
    const what = update.after === commit.sha ? 'brought here' : 'taken away';
    const by = update.pushedBy === null ? '' : ` by ${update.pushedBy}`;
    line('Seen', `${clock(update.seenAt, utc)}, ${update.name} ${what} (${update.kind})${by}`);
  }
  context.out(
    `\n${commit.message
      .trimEnd()
      .split('\n')
      .map((text) => `    ${safe(text)}`.trimEnd())
      .join('\n')}\n\n`,
  );
  for (const path of commit.changedPaths.slice(0, MOST_PATHS)) context.out(`  ${safe(path)}\n`);
  const more = commit.changedPathCount - MOST_PATHS;
  if (more > 0) context.out(`  and ${more} more\n`);
}

function personText({ name, email, login }: Person): string {
  const who = name ?? login ?? '';
  return email === undefined ? who : `${who} <${email}>`.trim();
}
