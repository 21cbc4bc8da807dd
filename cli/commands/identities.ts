import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { createContext, type GlobalFlags, writeStructured } from '../context.js';
import { examples } from '../examples.js';
import { CliError, EXIT } from '../exit.js';
import { readIdentities } from '../identities-file.js';

export function identityCommands(program: Command): void {
  const identities = program
    .command('identities')
    .description('the file that says which names are one person');
  examples(identities, [['identities check identities.yaml', 'can it be used?']]);
  const check = identities
    .command('check')
    .description('whether a mapping of identities can be used; asks no server')
    .argument('<FILE>', 'what WHOCHANGED_IDENTITIES_FILE names');
  examples(check, [['identities check identities.yaml', 'before it is put in place']]).action(
    (file: string, _flags: unknown, called: Command) => {
      const context = createContext(called.optsWithGlobals<GlobalFlags>(), 'one');
      const { entries, problems } = readIdentities(readText(file));
      if (problems.length > 0)
        throw new CliError(
          EXIT.usage,
          problems.map((problem) => `${file}: ${problem}`).join('\n'),
          'docs/hosts.md describes the file',
        );
      const people = entries.filter((entry) => entry.kind === 'human').length;
      const names = entries.reduce(
        (n, entry) =>
          n + entry.emails.length + entry.logins.length + entry.usernames.length + entry.subjects.length,
        0,
      );
      const counts = { people, robots: entries.length - people, names };
      if (!writeStructured(context, counts))
        context.out(`${file}: ${counts.people} people and ${counts.robots} robots with ${names} names\n`);
    },
  );
}

export function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new CliError(EXIT.usage, `cannot read ${file}: ${(error as NodeJS.ErrnoException).code}`);
  }
}
