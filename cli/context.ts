import { stringify } from 'yaml';
import { Client, type ConnectionFlags, clientOptions } from './client.js';
import { CliError, EXIT } from './exit.js';
import type { View } from './render/changes.js';
import { colorsFor } from './render/colors.js';

export const OUTPUTS = ['table', 'wide', 'json', 'yaml', 'csv', 'ndjson', 'name'] as const;
export type Output = (typeof OUTPUTS)[number];

export interface GlobalFlags extends ConnectionFlags {
  output?: string;
  utc?: boolean;
}

/** What every command works with: the API, and the terminal it writes to. */
export interface Context {
  client: Client;
  output: Output;
  view: View;
  out(text: string): void;
  err(text: string): void;
}

const DEFAULT_WIDTH = 160;

export function createContext(flags: GlobalFlags): Context {
  const output = (flags.output ?? 'table') as Output;
  if (!OUTPUTS.includes(output))
    throw new CliError(EXIT.usage, `-o ${output}: expected one of ${OUTPUTS.join(', ')}`);
  return {
    client: new Client(clientOptions(flags, process.env)),
    output,
    view: {
      width: process.stdout.columns ?? (Number(process.env.COLUMNS) || DEFAULT_WIDTH),
      colors: colorsFor(process.stdout, process.env),
      now: Date.now(),
      utc: flags.utc ?? false,
      wide: output === 'wide',
    },
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
  };
}

/** Machine-readable forms that are the same for every answer; false where the command has its own table to draw. */
export function writeStructured(
  context: Context,
  value: unknown,
  items?: Array<{ id?: string; name?: string }>,
): boolean {
  switch (context.output) {
    case 'json':
      context.out(`${JSON.stringify(value, null, 2)}\n`);
      return true;
    case 'yaml':
      context.out(stringify(value, { lineWidth: 0 }));
      return true;
    case 'ndjson':
      for (const item of items ?? [value]) context.out(`${JSON.stringify(item)}\n`);
      return true;
    case 'name':
      for (const item of items ?? []) context.out(`${item.name ?? item.id ?? ''}\n`);
      return true;
    default:
      return false;
  }
}

const TIME = /^\d{1,6}[smhdw]$|^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$/;

/** A time for the API; what has no zone is local. */
export function timeOption(name: string): (value: string) => string {
  return (value) => {
    if (!TIME.test(value))
      throw new CliError(
        EXIT.usage,
        `${name} ${value}: no time`,
        'write it like 2026-03-02T09:00:00Z, or 30m, 2h, 7d for that long ago',
      );
    return /[smhdw]$/.test(value) ? value : new Date(value).toISOString();
  };
}

export function wholeNumber(name: string, min: number, max: number): (value: string) => number {
  return (value) => {
    const number = Number(value);
    if (!Number.isInteger(number) || number < min || number > max)
      throw new CliError(EXIT.usage, `${name} ${value}: expected a whole number from ${min} to ${max}`);
    return number;
  };
}

export function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value];
}
