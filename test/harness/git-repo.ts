import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export interface TestCommit {
  /** Path to content; null removes the file. */
  files?: Record<string, string | null>;
  message?: string;
  /** `Name <email>`; Alice unless told otherwise. */
  author?: string;
  committer?: string;
  /** More arguments for `git commit`, such as -S. */
  args?: string[];
}

const START = Date.UTC(2026, 2, 2, 9, 0, 0) / 1000;

/** A real repository with a working tree; its commits' times are a minute apart, so that its ids are the same in every run. */
export class TestRepo {
  readonly folder: string;
  readonly url: string;
  #clock = START;

  constructor(name = 'repo') {
    this.folder = join(mkdtempSync(join(tmpdir(), 'whochanged-repo-')), name);
    mkdirSync(this.folder);
    this.url = `file://${this.folder}`;
    this.git('init', '--quiet', '--initial-branch=main');
  }

  /** Runs git there. Nothing of this machine's own configuration is read. */
  git(...args: string[]): string {
    return this.#run(args, this.#who());
  }

  /** Commits onto the branch that is checked out. Returns the commit's id. */
  commit(commit: TestCommit = {}): string {
    this.#clock += 60;
    for (const [path, content] of Object.entries(commit.files ?? {})) {
      if (content === null) rmSync(join(this.folder, path));
      else {
        mkdirSync(dirname(join(this.folder, path)), { recursive: true });
        writeFileSync(join(this.folder, path), content);
      }
    }
    this.git('add', '--all');
    const args = [
      'commit',
      '--quiet',
      '--allow-empty',
      '-m',
      commit.message ?? 'Change',
      ...(commit.args ?? []),
    ];
    this.#run(args, this.#who(commit.author, commit.committer));
    return this.head();
  }

  /** Merges a branch, as a merge commit. */
  merge(branch: string, options: { message?: string; author?: string } = {}): string {
    this.#clock += 60;
    const message = options.message ?? `Merge ${branch}`;
    this.#run(['merge', '--quiet', '--no-ff', '-m', message, branch], this.#who(options.author));
    return this.head();
  }

  /** Merges a branch as one commit. */
  squash(branch: string, commit: TestCommit = {}): string {
    this.git('merge', '--quiet', '--squash', branch);
    return this.commit({ message: `Squash ${branch}`, ...commit });
  }

  /** Replays the branch that is checked out onto another. */
  rebase(onto: string): string {
    this.#clock += 60;
    this.#run(['rebase', '--quiet', onto], this.#who('Rebase Bot <bot@example.com>'));
    return this.head();
  }

  checkout(branch: string, from?: string): void {
    if (from === undefined) this.git('checkout', '--quiet', branch);
    else this.git('checkout', '--quiet', '-B', branch, from);
  }

  head(): string {
    return this.git('rev-parse', 'HEAD');
  }

  remove(): void {
    rmSync(dirname(this.folder), { recursive: true, force: true });
  }

  #who(author = 'Alice <alice@example.com>', committer = author): Record<string, string> {
    const [, authorName = '', authorEmail = ''] = /^(.*) <(.*)>$/.exec(author)!;
    const [, committerName = '', committerEmail = ''] = /^(.*) <(.*)>$/.exec(committer)!;
    return {
      GIT_AUTHOR_NAME: authorName,
      GIT_AUTHOR_EMAIL: authorEmail,
      GIT_AUTHOR_DATE: `${this.#clock} +0000`,
      GIT_COMMITTER_NAME: committerName,
      GIT_COMMITTER_EMAIL: committerEmail,
      GIT_COMMITTER_DATE: `${this.#clock} +0000`,
    };
  }

  #run(args: string[], environment: Record<string, string>): string {
    const env = {
      PATH: process.env.PATH,
      HOME: dirname(this.folder),
      LC_ALL: 'C',
      GIT_CONFIG_NOSYSTEM: '1',
      ...environment,
    };
    return execFileSync('git', ['-C', this.folder, ...args], {
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    }).trim();
  }
}
