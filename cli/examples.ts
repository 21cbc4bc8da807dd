import type { Command } from 'commander';

/** Adds examples to a command's help: what to type after the program's name, and what it is for. */
export function examples(command: Command, lines: Array<readonly [typed: string, purpose: string]>): Command {
  return command.addHelpText('after', () => {
    let root = command;
    while (root.parent) root = root.parent;
    const typed = lines.map(([words]) => `  ${root.name()} ${words}`.trimEnd());
    const width = Math.max(...typed.filter((text) => text.length < 60).map((text) => text.length), 0);
    const shown = lines.map(([, purpose], i) => `${typed[i]!.padEnd(width)}  # ${purpose}`);
    return `\nExamples:\n${shown.join('\n')}`;
  });
}
