import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { endGit, GitError, startGit } from './git-process.js';

export interface GitObject {
  sha: string;
  type: 'commit' | 'tree' | 'blob' | 'tag';
  content: Buffer;
}

interface Waiting {
  resolve(object: GitObject | undefined): void;
  reject(error: Error): void;
}

const NEWLINE = 0x0a;

/**
 * Reads objects of one repository through a single `git cat-file --batch` process, which answers in the order it is
 * asked. It must be closed.
 */
export class GitObjects {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting: Waiting[] = [];
  #chunks: Buffer[] = [];
  #length = 0;
  /** Bytes that must be there before it is worth looking again. */
  #needed = 1;
  #failure: Error | undefined;

  constructor(folder: string) {
    this.#child = startGit({ folder, args: ['cat-file', '--batch'] });
    let stderr = '';
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-2000);
    });
    this.#child.stdin.on('error', () => undefined);
    this.#child.stdout.on('data', (chunk: Buffer) => this.#take(chunk));
    this.#child.on('error', () => this.#fail(new GitError(['cat-file'], 'missing', undefined, '')));
    this.#child.on('close', (code) =>
      this.#fail(new GitError(['cat-file'], 'failed', code ?? undefined, stderr)),
    );
  }

  /**
   * The object of that name: a sha, or `sha:path`. Undefined where there is none.
   * @throws GitError when git ended
   */
  read(name: string): Promise<GitObject | undefined> {
    if (/[\n\0]/.test(name)) return Promise.resolve(undefined);
    if (this.#failure) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#child.stdin.write(`${name}\n`);
    });
  }

  /** It has ended, and answers nothing any more. */
  get failed(): boolean {
    return this.#failure !== undefined;
  }

  /** It was asked something that it hasn't answered yet. */
  get busy(): boolean {
    return this.#waiting.length > 0;
  }

  close(): void {
    this.#child.stdin.end();
    if (this.#waiting.length > 0) endGit(this.#child);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(error);
  }

  #take(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    if (this.#length < this.#needed) return;
    let data = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks, this.#length);
    this.#needed = 1;
    for (;;) {
      const end = data.indexOf(NEWLINE);
      if (end < 0) break;
      const header = data.toString('utf8', 0, end);
      const match = /^([0-9a-f]{40,64}) (commit|tree|blob|tag) (\d+)$/.exec(header);
      if (!match) {
        // `NAME missing`, `NAME ambiguous`, and the like.
        data = data.subarray(end + 1);
        this.#waiting.shift()?.resolve(undefined);
        continue;
      }
      const total = end + 1 + Number(match[3]) + 1;
      if (data.length < total) {
        this.#needed = total;
        break;
      }
      const content = Buffer.from(data.subarray(end + 1, total - 1));
      data = data.subarray(total);
      this.#waiting.shift()?.resolve({ sha: match[1]!, type: match[2] as GitObject['type'], content });
    }
    this.#chunks = data.length > 0 ? [data] : [];
    this.#length = data.length;
  }
}
