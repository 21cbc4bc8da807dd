import type { Person } from '../approval/facts.js';
import { readTrailers, type Trailer } from './trailers.js';

/** A commit object, as git stores it. Times are microseconds since the Unix epoch. */
export interface CommitObject {
  tree: string;
  parents: string[];
  author: Required<Pick<Person, 'name' | 'email'>>;
  authoredAt: number;
  committer: Required<Pick<Person, 'name' | 'email'>>;
  committedAt: number;
  /** It carries a signature; nothing is said of its worth. */
  signed: boolean;
  subject: string;
  message: string;
  trailers: Trailer[];
}

/** Postgres and people can't read what is beyond; git itself takes any number. */
const LATEST = Date.UTC(9999, 0, 1) / 1000;

/**
 * Reads the raw text of a commit object (git's Documentation/gitformat-commit, commit.c parse_commit_buffer,
 * read_commit_extra_headers). Old tools wrote odd ones; what can't be read of a person or a time becomes '' or 0, since
 * one odd commit must not hide those after it.
 * @param raw the object's content, as `git cat-file --batch` gives it
 * @throws Error when it has no tree: it is no commit
 */
export function parseCommitObject(raw: Buffer): CommitObject {
  const end = raw.indexOf('\n\n');
  const headers = readHeaders(raw.toString('utf8', 0, end < 0 ? raw.length : end));
  const tree = headers.get('tree')?.[0];
  if (tree === undefined || !/^[0-9a-f]{40,64}$/.test(tree)) throw new Error('it is no commit object');
  const author = readIdent(headers.get('author')?.[0] ?? '');
  const committer = readIdent(headers.get('committer')?.[0] ?? '');
  const message = end < 0 ? '' : textOf(raw.subarray(end + 2), headers.get('encoding')?.[0]);
  return {
    tree,
    parents: headers.get('parent') ?? [],
    author: author.person,
    authoredAt: author.at,
    committer: committer.person,
    committedAt: committer.at,
    signed: headers.has('gpgsig') || headers.has('gpgsig-sha256'),
    subject: subjectOf(message),
    message,
    trailers: readTrailers(message),
  };
}

/** Header lines by name; a line that begins with a space goes on with the one before. */
function readHeaders(text: string): Map<string, string[]> {
  const headers = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    if (line.startsWith(' ')) continue;
    const space = line.indexOf(' ');
    const name = space < 0 ? line : line.slice(0, space);
    const values = headers.get(name);
    const value = space < 0 ? '' : line.slice(space + 1);
    if (values) values.push(value);
    else headers.set(name, [value]);
  }
  return headers;
}

/** `Name <email> 1700000000 +0100`: the last `>` ends the address, as in git's split_ident_line. */
function readIdent(line: string): { person: { name: string; email: string }; at: number } {
  const open = line.indexOf('<');
  const close = line.lastIndexOf('>');
  if (open < 0 || close < open) return { person: { name: plain(line), email: '' }, at: 0 };
  const seconds = Number(/^\s*(\d+)/.exec(line.slice(close + 1))?.[1] ?? 0);
  return {
    person: { name: plain(line.slice(0, open)), email: plain(line.slice(open + 1, close)) },
    at: seconds > LATEST ? 0 : seconds * 1_000_000,
  };
}

/** Postgres text holds no NUL. */
function plain(text: string): string {
  return text.replaceAll('\0', '').trim();
}

function textOf(bytes: Buffer, encoding: string | undefined): string {
  let text: string;
  try {
    text = new TextDecoder(encoding ?? 'utf-8').decode(bytes);
  } catch {
    // An encoding that nobody knows: what of it is ASCII can be read.
    text = bytes.toString('utf8');
  }
  return text.replaceAll('\0', '');
}

/** The first paragraph on one line, as `git log --format=%s` gives it. */
function subjectOf(message: string): string {
  const lines = message.replace(/^\s+/, '').split('\n');
  const end = lines.findIndex((line) => line.trim() === '');
  return lines
    .slice(0, end < 0 ? lines.length : end)
    .map((line) => line.trim())
    .join(' ');
}
