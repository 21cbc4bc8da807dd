import { closeSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { CliError, EXIT } from './exit.js';

/**
 * A file for a secret that can't be asked for again: opened before the secret is made, so that a folder that can't be
 * written costs nothing; only its owner can read it, and a file of that name is replaced as a whole.
 */
export class PrivateFile {
  readonly #path: string;
  readonly #draft: string;
  readonly #descriptor: number;

  constructor(path: string) {
    this.#path = path;
    this.#draft = `${path}.${process.pid}.new`;
    try {
      this.#descriptor = openSync(this.#draft, 'wx', 0o600);
    } catch (error) {
      throw new CliError(
        EXIT.usage,
        `cannot write ${path}: ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}`,
        'name a file in a folder that is there and that you may write to',
      );
    }
  }

  write(text: string): void {
    writeSync(this.#descriptor, text);
    closeSync(this.#descriptor);
    renameSync(this.#draft, this.#path);
  }

  discard(): void {
    closeSync(this.#descriptor);
    rmSync(this.#draft, { force: true });
  }
}
