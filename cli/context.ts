import { Client } from './client.js';
import { type ConnectionFlags, clientOptions } from './credentials.js';
import { CliError, EXIT } from './exit.js';
import { yaml } from './on-demand.js';
import type { View } from './render/changes.js';
import { colorsFor } from './render/colors.js';
import { rowsCsv } from './render/csv.js';

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

/** What a command gives: rows; one thing, which as CSV is one row; or a file in a form of its own, which may be YAML. */
type Answer = 'list' | 'one' | 'file' | 'YAML file';

/**
 * The form that an answer is asked for in.
 * @throws CliError for one that there isn't, or that this command doesn't have: before anything is asked of the server, since
 *   that may change something
 */
export function outputOf(flags: Pick<GlobalFlags, 'output'>, answer: Answer): Output {
  const output = (flags.output ?? 'table') as Output;
  if (!OUTPUTS.includes(output))
    throw new CliError(EXIT.usage, `-o ${output}: expected one of ${OUTPUTS.join(', ')}`);
  const isFile = answer === 'file' || answer === 'YAML file';
  if (isFile && output !== 'table' && !(answer === 'YAML file' && output === 'yaml'))
    throw new CliError(
      EXIT.usage,
      `-o ${output}: this command gives a file in a form of its own`,
      'leave -o out',
    );
  if (answer === 'one' && output === 'name')
    throw new CliError(EXIT.usage, '-o name: this command gives no list', 'use -o json, yaml or csv');
  return output;
}

export function createContext(flags: GlobalFlags, answer: Answer = 'list'): Context {
  const output = outputOf(flags, answer);
  return {
    client: new Client(clientOptions(flags, process.env)),
    output,
    view: {
      // What goes to a pipe or a file is whole, a line for each row, so that grep finds everything.
      width: process.stdout.columns ?? (Number(process.env.COLUMNS) || Number.POSITIVE_INFINITY),
      colors: colorsFor(process.stdout, process.env),
      errorColors: colorsFor(process.stderr, process.env),
      now: Date.now(),
      utc: flags.utc ?? false,
      wide: output === 'wide',
    },
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
  };
}

interface Item {
  id?: string | number;
  name?: string;
  eventID?: string;
  changeID?: string;
  change?: { id: string };
}

/** What `-o name` prints of an item: what another command takes. */
function nameOf(item: Item): string | number {
  return item.change?.id ?? item.changeID ?? item.name ?? item.id ?? item.eventID ?? '';
}

/** Machine-readable forms that are the same for every answer; false where the command has its own table to draw. */
export function writeStructured(
  context: Context,
  value: unknown,
  items?: Item[],
  csv: (items: Item[]) => string = rowsCsv,
): boolean {
  switch (context.output) {
    case 'json':
      context.out(`${JSON.stringify(value, null, 2)}\n`);
      return true;
    case 'yaml':
      context.out(yaml().stringify(value, { lineWidth: 0 }));
      return true;
    case 'ndjson':
      for (const item of items ?? [value]) context.out(`${JSON.stringify(item)}\n`);
      return true;
    case 'name':
      for (const item of items ?? []) context.out(`${nameOf(item)}\n`);
      return true;
    case 'csv':
      context.out(csv(items ?? ([value].flat() as Item[])));
      return true;
    default:
      return false;
  }
}

const AGO = /^\d{1,6}[smhdw]$/;
/** As Go writes durations, and kubectl takes them: 1h30m. */
const PARTS = /(\d{1,6})([smhdw])/g;
const SECONDS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };
const TIME = /^(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2})(:\d{2})?(\.\d{1,9})?([Zz]|[+-]\d{2}:?\d{2})?)?$/;

/** A time for the API, as precise as it was given; what has no zone is local. */
export function timeOption(name: string): (value: string) => string {
  return (value) => {
    if (AGO.test(value)) return value;
    if (/^(\d{1,6}[smhdw]){2,6}$/.test(value)) {
      let seconds = 0;
      for (const [, count, unit] of value.matchAll(PARTS)) seconds += Number(count) * SECONDS[unit!]!;
      // The server counts back from its own clock, in no more than six digits.
      const unit = ['s', 'm', 'h'].find((item) => seconds / SECONDS[item]! < 999_999) ?? 'd';
      return `${Math.round(seconds / SECONDS[unit]!)}${unit}`;
    }
    const [, date, minutes = '00:00', seconds = ':00', fraction = '', zone = ''] = TIME.exec(value) ?? [];
    const whole = new Date(`${date}T${minutes}${seconds}${zone.replace(/^([+-]\d{2})(\d{2})$/, '$1:$2')}`);
    if (date === undefined || Number.isNaN(whole.getTime()))
      throw new CliError(
        EXIT.usage,
        `${name} ${value}: no time`,
        'write it like 2026-03-02T09:00:00Z, or 30m, 2h, 7d for that long ago',
      );
    return `${whole.toISOString().slice(0, 19)}${fraction}Z`;
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
