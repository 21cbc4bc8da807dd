import { type Command, Option } from 'commander';
import { createContext, type GlobalFlags, writeStructured } from '../context.js';
import { examples } from '../examples.js';

interface Erased {
  eventID: string;
  bodies: number;
  changes: number;
  segments: number;
  left: string[];
}

export function eraseCommand(program: Command): void {
  const command = program
    .command('erase')
    .description('erase the payload of an event lawfully; its envelope and every proof stay')
    .argument('<ID>', 'of an event or a change')
    .addOption(new Option('--part <part>', 'one of its two bodies only').choices(['request', 'response']))
    .requiredOption('--reason <text>', 'why, for whoever asks later');
  examples(command, [
    [
      'erase 01946f2c-8a10-8000-8000-000000000000 --reason request-of-data-subject',
      'both bodies, and the state after',
    ],
  ]).action(async (id: string, _flags: unknown, called: Command) => {
    const flags = called.optsWithGlobals<GlobalFlags & { part?: string; reason: string }>();
    const context = createContext(flags, 'one');
    const erased = await context.client.post<Erased>('/v1/erasures', {
      event: id,
      ...(flags.part && { parts: [flags.part] }),
      reason: flags.reason,
    });
    if (writeStructured(context, erased)) return;
    context.out(
      `${erased.bodies} bodies are erased, ${erased.changes} changes no longer tell of them, ${erased.segments} segments of the archive were written anew\n`,
    );
    for (const key of erased.left) context.err(`still in the archive, to be deleted by hand: ${key}\n`);
  });
}
