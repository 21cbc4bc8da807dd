import { statSync } from 'node:fs';

/**
 * A file that is read again when it changes: that of a ConfigMap or Secret changes under a running process. The answer is
 * the newest that could be read; one that can't is told once, and the last good one holds on.
 * @param others the files that a file names, which are watched too
 * @throws whatever `read` throws at the start
 */
export function openReloaded<T>(
  file: string,
  read: (file: string) => T,
  tell: { changed(next: T): void; invalid(error: unknown): void },
  others: (file: string) => readonly string[] = () => [],
): () => T {
  let beside = others(file);
  const stampOfAll = () => [file, ...beside].map(stampOf).join('\n');
  let seen = stampOfAll();
  let current = read(file);
  return () => {
    const stamp = stampOfAll();
    if (stamp === seen) return current;
    beside = others(file);
    seen = stampOfAll();
    try {
      current = read(file);
      tell.changed(current);
    } catch (error) {
      tell.invalid(error);
    }
    return current;
  };
}

function stampOf(file: string): string {
  try {
    const { mtimeMs, size, ino } = statSync(file);
    return `${mtimeMs} ${size} ${ino}`;
  } catch {
    return 'missing';
  }
}
