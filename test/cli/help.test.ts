import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { createProgram } from '../../cli/program.js';

/** Every command with the words that call it. */
function commandsOf(command: Command, words: string[] = []): Array<[words: string, command: Command]> {
  const below = command.commands.flatMap((item) => commandsOf(item, [...words, item.name()]));
  return [[words.join(' '), command], ...below];
}

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({
    writeOut: (chunk) => {
      text += chunk;
    },
  });
  command.outputHelp();
  return text;
}

describe.each(['whochanged', 'kubectl whochanged'])('the help of %s', (name) => {
  const commands = commandsOf(createProgram(name, '1.2.3'));

  it('covers every command', () => {
    expect(commands.map(([words]) => words).sort()).toEqual(
      [
        ...['', 'changes', 'tail', 'show', 'history', 'diff', 'rollback', 'export'],
        ...['access', 'secret-reads', 'actor', 'events', 'event', 'findings', 'status'],
        ...['source', 'source add', 'source list', 'source rotate', 'source disable'],
        ...['source set', 'source status', 'source objects', 'source retry'],
        ...['completeness', 'gaps'],
        ...['audit-policy', 'controls', 'report'],
        ...['backfill', 'backfill list', 'backfill cancel', 'import'],
        ...['repo', 'repo add', 'repo list', 'repo status', 'repo fetch', 'repo disable', 'repo enable'],
        ...[
          'repo remove',
          'commit',
          'verify',
          'gate',
          'gate list',
          'gate manifest',
          'gate kubeconfig',
          'gate attest',
        ],
        ...['token', 'token create', 'token list', 'token revoke'],
        ...['quarantine', 'quarantine list', 'quarantine show', 'quarantine replay', 'quarantine dismiss'],
        ...['pr', 'host', 'host status', 'approval', 'approval list', 'approval import'],
        ...['ticket', 'ticket list', 'ticket show', 'ticket import'],
        ...['alert', 'alert list', 'alert show', 'alert ack', 'alert deliveries'],
        ...['alert rules', 'alert check', 'alert test'],
        ...['identities', 'identities check'],
        ...['proof', 'checkpoint', 'verify-log', 'whoami', 'access-events'],
        ...['hold', 'hold add', 'hold list', 'hold release', 'retention', 'erase'],
        ...['drift', 'applications'],
        ...['verdicts', 'actions', 'policy', 'policy show', 'policy check', 'policy test'],
      ].sort(),
    );
  });

  it.each(commands)(
    '%s has an example of that very command that parses, and says what everything is for',
    (words, command) => {
      const help = helpOf(command);
      const examples = [...help.slice(help.indexOf('\nExamples:\n')).matchAll(/^ {2}(\S.*?) {2,}# (.+)$/gm)];
      expect(examples.length).toBeGreaterThan(0);
      for (const [, typed] of examples) {
        expect(typed!.startsWith(`${name} `)).toBe(true);
        if (command.commands.length === 0 && words !== 'changes')
          expect(typed!.startsWith(`${name} ${words}`)).toBe(true);
        expect(() => parseOnly(name, typed!.slice(name.length + 1))).not.toThrow();
      }
      expect(command.description()).not.toBe('');
      for (const option of command.options) expect(option.description || option.argChoices).toBeTruthy();
      for (const argument of command.registeredArguments) expect(argument.description).not.toBe('');
      for (const line of help.slice(0, help.indexOf('\nExamples:')).split('\n'))
        expect(line.length).toBeLessThanOrEqual(80);
    },
  );
});

/** Parses a command line as far as its action, which is not run. */
function parseOnly(name: string, line: string): void {
  const program = createProgram(name, '1.2.3');
  for (const [, command] of commandsOf(program)) {
    command.exitOverride().configureOutput({ writeErr: () => undefined });
    if (command.commands.length === 0 || command.registeredArguments.length > 0)
      command.action(() => undefined);
  }
  const [typed] = line.split(/ [|>] /);
  const words = [...typed!.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!);
  program.parse(words, { from: 'user' });
}
