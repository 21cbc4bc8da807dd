import { isHarmless } from './assignments.js';
import { isDigest, type KeyedDigest } from './keyed-digest.js';
import { NAME, type Names } from './names.js';

/** Programs with a short option for a password: `-pX` and `-p X`, `-a X`. */
const SHORT_OPTIONS: readonly { program: RegExp; option: string; attached: boolean }[] = [
  { program: /(?:^|\/)(?:mysql|mariadb)[\w-]*$/, option: '-p', attached: true },
  { program: /(?:^|\/)sshpass$/, option: '-p', attached: true },
  { program: /(?:^|\/)sshpass$/, option: '-p', attached: false },
  { program: /(?:^|\/)redis-cli$/, option: '-a', attached: false },
];

/** A cheap test for texts in which a program of SHORT_OPTIONS, or curl's `-u`, may stand. */
export const SHORT_OPTION_HINT = /mysql|mariadb|sshpass|redis-cli|\s-u|--user/;

/**
 * What of one word of a command line is secret because of the words before it: `--token X`, `-u user:X`,
 * `mysql -pX`. Feed it the words in order.
 */
export class CommandLine {
  readonly #names: Names;
  readonly #digest: KeyedDigest;
  #previous = '';
  #programs: string[] = [];

  constructor(names: Names, digest: KeyedDigest) {
    this.#names = names;
    this.#digest = digest;
  }

  /** The word with its secret digested, or undefined when the words before say nothing about it. */
  next(word: string): string | undefined {
    const redacted = this.#redact(word);
    this.#previous = word;
    if (SHORT_OPTIONS.some(({ program }) => program.test(word))) this.#programs.push(word);
    return redacted;
  }

  #redact(word: string): string | undefined {
    const previous = this.#previous;
    if (isSecretFlag(previous, this.#names) && !isFlag(word)) return this.#hide(word);
    if (previous === '-u' || previous === '--user') {
      const colon = word.indexOf(':');
      // 1000:1000 is a user and a group.
      if (colon >= 0 && !/^\d+:\d+$/.test(word))
        return word.slice(0, colon + 1) + this.#hide(word.slice(colon + 1));
    }
    for (const { program, option, attached } of SHORT_OPTIONS) {
      if (!this.#programs.some((name) => program.test(name))) continue;
      if (attached && word.startsWith(option) && word.length > option.length)
        return option + this.#hide(word.slice(option.length));
      if (!attached && previous === option) return this.#hide(word);
    }
    return undefined;
  }

  #hide(value: string): string {
    return isHarmless(value) || isDigest(value) ? value : this.#digest(value);
  }
}

function isFlag(word: string): boolean {
  return word.startsWith('--') || /^-[a-zA-Z]$/.test(word);
}

function isSecretFlag(word: string, names: Names): boolean {
  if (!word.startsWith('-') || word.includes('=')) return false;
  return (names.meaning(word.replace(/^-+/, '')) & NAME.sensitive) !== 0;
}

const WORD = /"[^"\\]*(?:\\[\s\S][^"\\]*)*"?|'[^']*'?|[^\s"']\S*/g;

/** The same for a command line written as text, as in `sh -c "..."`. */
export function redactCommandText(text: string, names: Names, digest: KeyedDigest): string {
  const line = new CommandLine(names, digest);
  let out = '';
  let done = 0;
  for (const match of text.matchAll(WORD)) {
    const word = match[0];
    const quote = word[0] === '"' || word[0] === "'" ? word[0] : '';
    const closed = quote !== '' && word.length > 1 && word.endsWith(quote);
    const bare = quote === '' ? word : word.slice(1, closed ? -1 : undefined);
    const redacted = line.next(bare);
    if (redacted === undefined || redacted === bare) continue;
    out += text.slice(done, match.index) + quote + redacted + (closed ? quote : '');
    done = match.index + word.length;
  }
  return done === 0 ? text : out + text.slice(done);
}
