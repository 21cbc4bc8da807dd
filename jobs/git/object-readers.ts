import { existsSync } from 'node:fs';
import { GitObjects } from './objects.js';

/** A process that is asked nothing for this long is ended. */
const IDLE_MS = 3000;

/** One reading process for each repository that is asked of, kept for as long as questions come. */
export class ObjectReaders {
  readonly #open = new Map<string, { objects: GitObjects; timer: NodeJS.Timeout }>();

  /** The objects of a mirror; undefined where it isn't on this machine's disk. */
  of(folder: string): GitObjects | undefined {
    const known = this.#open.get(folder);
    if (known && !known.objects.failed) {
      known.timer.refresh();
      return known.objects;
    }
    known?.objects.close();
    // Mirrors are on the disk of whoever fetches; another process may not have them.
    if (!existsSync(folder)) return undefined;
    const objects = new GitObjects(folder);
    const timer = setTimeout(() => this.#idle(folder), IDLE_MS);
    this.#open.set(folder, { objects, timer });
    return objects;
  }

  #idle(folder: string): void {
    const known = this.#open.get(folder);
    if (!known) return;
    if (known.objects.busy) known.timer.refresh();
    else {
      this.#open.delete(folder);
      known.objects.close();
    }
  }
}
