/** What is wrong with a policy, where, and what to write instead. */
export interface PolicyProblem {
  /** From the document's root to the value, or to where it is missing. */
  path: Array<string | number>;
  problem: string;
  expected: string;
  example: string;
}

/** `environments[0].approvals` */
export function formatPolicyPath(path: ReadonlyArray<string | number>): string {
  return path
    .map((step, i) => (typeof step === 'number' ? `[${step}]` : i === 0 ? step : `.${step}`))
    .join('');
}

/** Reads one map of a policy, and notes what is wrong with it. What can't be read is given a harmless value. */
export class Shape {
  readonly #value: Record<string, unknown>;
  readonly #path: Array<string | number>;
  readonly #problems: PolicyProblem[];

  constructor(value: unknown, path: Array<string | number>, problems: PolicyProblem[]) {
    this.#path = path;
    this.#problems = problems;
    const isMap = typeof value === 'object' && value !== null && !Array.isArray(value);
    this.#value = isMap ? (value as Record<string, unknown>) : {};
    if (!isMap)
      problems.push({
        path,
        problem: `is ${nameOf(value)}`,
        expected: 'a map of names and values',
        example: path.length === 0 ? 'name: production-2026-03' : '{ name: ... }',
      });
  }

  problem(key: string, problem: string, expected: string, example: string): void {
    this.#problems.push({ path: [...this.#path, key], problem, expected, example });
  }

  has(key: string): boolean {
    return this.#value[key] !== undefined && this.#value[key] !== null;
  }

  /** A value as it is, for readers of their own. */
  value(key: string): unknown {
    return this.#value[key];
  }

  /** Notes every key that there is no rule for: a misspelled one, silently ignored, would weaken the policy. */
  only(keys: readonly string[]): void {
    for (const key of Object.keys(this.#value))
      if (!keys.includes(key))
        this.problem(key, 'is unknown here', `one of ${keys.join(', ')}`, `${keys[0]}: ...`);
  }

  text(key: string, rule: { required?: boolean; example: string }): string {
    const value = this.#value[key];
    if (typeof value === 'string' && value !== '') return value;
    if (value === undefined || value === null || value === '') {
      if (rule.required) this.problem(key, 'is missing', 'a text', `${key}: ${rule.example}`);
      return '';
    }
    this.problem(key, `is ${nameOf(value)}`, 'a text', `${key}: ${rule.example}`);
    return '';
  }

  optional(key: string, example: string): string | undefined {
    return this.text(key, { example }) || undefined;
  }

  texts(key: string, rule: { required?: boolean; example: string }): string[] {
    const value = this.#value[key];
    if (Array.isArray(value) && value.every((item) => typeof item === 'string' && item !== '')) {
      if (value.length === 0 && rule.required)
        this.problem(key, 'is empty', 'at least one text', `${key}: ${rule.example}`);
      return value as string[];
    }
    if (value === undefined || value === null) {
      if (rule.required) this.problem(key, 'is missing', 'a list of texts', `${key}: ${rule.example}`);
      return [];
    }
    this.problem(
      key,
      Array.isArray(value) ? 'holds something else than texts' : `is ${nameOf(value)}`,
      'a list of texts',
      `${key}: ${rule.example}`,
    );
    return [];
  }

  wordsOf<T extends string>(key: string, words: readonly T[]): T[] {
    const found = this.texts(key, { example: `[${words[0]}]` });
    const unknown = found.find((word) => !(words as readonly string[]).includes(word));
    if (unknown !== undefined)
      this.problem(
        key,
        `holds ${JSON.stringify(unknown)}`,
        `any of ${words.join(', ')}`,
        `${key}: [${words[0]}]`,
      );
    return found.filter((word): word is T => (words as readonly string[]).includes(word));
  }

  keys(): string[] {
    return Object.keys(this.#value);
  }

  textMap(key: string, example: string): Record<string, string> {
    const value = this.#value[key];
    if (value === undefined || value === null) return {};
    const isMap = typeof value === 'object' && !Array.isArray(value);
    if (isMap && Object.values(value).every((item) => typeof item === 'string'))
      return { ...(value as Record<string, string>) };
    this.problem(
      key,
      isMap ? 'holds something else than texts' : `is ${nameOf(value)}`,
      'a map of texts',
      `${key}: ${example}`,
    );
    return {};
  }

  oneOf<T extends string>(key: string, words: readonly T[], fallback: T | undefined): T {
    const value = this.#value[key];
    if (typeof value === 'string' && (words as readonly string[]).includes(value)) return value as T;
    if ((value === undefined || value === null) && fallback !== undefined) return fallback;
    const missing = value === undefined || value === null;
    this.problem(
      key,
      missing ? 'is missing' : `is ${describe(value)}`,
      `one of ${words.join(', ')}`,
      `${key}: ${words[0]}`,
    );
    return fallback ?? words[0]!;
  }

  integer(key: string, fallback: number, min: number, max: number, example: number): number {
    const value = this.#value[key];
    if (value === undefined || value === null) return fallback;
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
    this.problem(key, `is ${describe(value)}`, `a whole number from ${min} to ${max}`, `${key}: ${example}`);
    return fallback;
  }

  flag(key: string, fallback: boolean): boolean {
    const value = this.#value[key];
    if (value === undefined || value === null) return fallback;
    if (typeof value === 'boolean') return value;
    this.problem(key, `is ${describe(value)}`, 'true or false', `${key}: true`);
    return fallback;
  }

  /** Minutes since midnight of a text such as "08:30". */
  clock(key: string, fallback: number): number {
    const text = this.optional(key, '"08:30"');
    if (text === undefined) return fallback;
    const match = /^([01]\d|2[0-3]):([0-5]\d)$|^24:00$/.exec(text);
    if (match) return match[1] === undefined ? 24 * 60 : Number(match[1]) * 60 + Number(match[2]);
    this.problem(key, `is ${describe(text)}`, 'a time of day in UTC', `${key}: "08:30"`);
    return fallback;
  }

  map(key: string): Shape | undefined {
    return this.has(key) ? new Shape(this.#value[key], [...this.#path, key], this.#problems) : undefined;
  }

  list(key: string): Shape[] {
    const value = this.#value[key];
    if (value === undefined || value === null) return [];
    if (Array.isArray(value))
      return value.map((item, i) => new Shape(item, [...this.#path, key, i], this.#problems));
    this.problem(key, `is ${nameOf(value)}`, 'a list', `${key}:\n  - name: ...`);
    return [];
  }
}

function nameOf(value: unknown): string {
  if (value === null || value === undefined) return 'empty';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'a map' : `a ${typeof value}`;
}

function describe(value: unknown): string {
  return typeof value === 'object' ? nameOf(value) : JSON.stringify(String(value).slice(0, 60));
}
