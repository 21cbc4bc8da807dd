import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { parse, YAMLParseError } from 'yaml';

export type Variables = Record<string, string | undefined>;

/** The variables in a YAML file: each a value, or a list of values. */
export function readVariablesFile(path: string, problems: string[]): Variables {
  const loose: Variables = {};
  try {
    const file: unknown = parse(readFileSync(path, 'utf8')) ?? {};
    if (typeof file !== 'object' || file === null || Array.isArray(file))
      throw new Error('it is not a map of variables, such as WHOCHANGED_HTTP_PORT: 8080');
    for (const [name, value] of Object.entries(file)) {
      const words: unknown[] = Array.isArray(value) ? value : [value];
      if (words.every((word) => ['string', 'number', 'boolean'].includes(typeof word)))
        loose[name] = words.join(',');
      else problems.push(`${name} in ${path}: expected one value or a list of values, such as ${name}: 8080`);
    }
  } catch (error) {
    problems.push(`WHOCHANGED_CONFIG: cannot use ${path}: ${reasonOf(error)}`);
  }
  return loose;
}

/** The parser's own message quotes the file, which may hold a password. */
function reasonOf(error: unknown): string {
  if (!(error instanceof YAMLParseError)) return (error as Error).message;
  return `it is not YAML: ${error.code} in line ${error.linePos?.[0].line}`;
}

/** Reads single variables, and collects what is wrong with them. Wrong values are told, except those that may be secret. */
export class VariableReader {
  readonly asked = new Set<string>();
  readonly #loose: Variables;
  readonly #problems: string[];

  constructor(loose: Variables, problems: string[]) {
    this.#loose = loose;
    this.#problems = problems;
  }

  #get(name: string): string | undefined {
    this.asked.add(name);
    return this.#loose[name];
  }

  text(name: string, fallback: string): string {
    return this.#get(name) ?? fallback;
  }

  integer(name: string, fallback: number, min: number, max: number): number {
    const text = this.#get(name);
    if (text === undefined) return fallback;
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    // Kubernetes sets such variables for a Service that is called, say, whochanged-http.
    const advice = text.startsWith('tcp://')
      ? '; Kubernetes sets it for a Service of that name: set enableServiceLinks: false in the pod'
      : '';
    this.#problems.push(
      `${name}: expected a whole number from ${min} to ${max}, such as ${fallback}, got "${text}"${advice}`,
    );
    return fallback;
  }

  oneOf(name: string, fallback: string, allowed: readonly string[]): string {
    const text = this.#get(name) ?? fallback;
    if (allowed.includes(text)) return text;
    this.#problems.push(`${name}: expected one of ${allowed.join(', ')}, got "${text}"`);
    return fallback;
  }

  list(name: string): string[] {
    return (this.#get(name) ?? '')
      .split(',')
      .map((word) => word.trim())
      .filter(Boolean);
  }

  words<T extends string>(name: string, allowed: readonly T[], fallback: readonly T[] = allowed): T[] {
    const words = this.#get(name) === undefined ? fallback : this.list(name);
    if (words.length === 0 || !words.every((word) => (allowed as readonly string[]).includes(word))) {
      this.#problems.push(`${name}: expected some of ${allowed.join(',')}, got "${this.#loose[name]}"`);
    }
    return allowed.filter((word) => (words as readonly string[]).includes(word));
  }

  /** The path of a file that can be read. */
  file(name: string): string | undefined {
    const text = this.#get(name);
    if (text === undefined) return undefined;
    const path = resolve(text);
    try {
      accessSync(path, constants.R_OK);
      if (!statSync(path).isFile()) throw new Error('it is not a file');
    } catch (error) {
      this.#problems.push(
        `${name}: cannot read ${path}: ${(error as Error).message}; name a file, such as /etc/whochanged/${name.toLowerCase().replace(/^whochanged_|_file$/g, '')}`,
      );
    }
    return path;
  }

  url<T extends string | undefined>(
    name: string,
    protocols: string[],
    fallback: T,
    example: string,
  ): string | T {
    const text = this.#get(name);
    if (text === undefined) return fallback;
    // libpq's form without a host, for unix sockets: postgres://user@/database?host=/run/postgresql
    const standard = text.replace('@/', '@localhost/');
    if (URL.canParse(standard) && protocols.includes(new URL(standard).protocol)) return text;
    // The value may hold a password: it is not repeated.
    this.#problems.push(`${name}: expected a URL such as ${example}`);
    return fallback;
  }
}
