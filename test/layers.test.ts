import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = resolve(import.meta.dirname, '..');

/** What each folder may import of ours: the table of ARCHITECTURE.md. */
const ALLOWED: Record<string, string[]> = {
  core: [],
  store: ['core'],
  ingest: ['core', 'store'],
  jobs: ['core', 'store'],
  api: ['core', 'store'],
  cli: ['core'],
  verify: ['core', 'store'],
  main: ['core', 'store', 'ingest', 'jobs', 'api', 'cli'],
  // Of the API its types only: the page speaks HTTP.
  web: ['core', 'api'],
};

/** core/ decides and does nothing else: hashing is its only use of the platform. */
const CORE_BUILTINS = ['node:crypto'];

function filesOf(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? filesOf(path) : /\.(ts|svelte)$/.test(path) ? [path] : [];
  });
}

function importsOf(path: string): string[] {
  const text = readFileSync(path, 'utf8');
  return [
    ...text.matchAll(
      /(?:^|\n)(?:import|export)[^'"\n;]*?(?:\n[^'"]*?)?from '([^']+)'|import\('([^']+)'\)|(?:^|\n)import '([^']+)'/g,
    ),
  ].map((match) => match[1] ?? match[2] ?? match[3]!);
}

describe.each(Object.keys(ALLOWED))('%s/', (folder) => {
  it('imports only what it may', () => {
    const wrong: string[] = [];
    for (const path of filesOf(join(ROOT, folder))) {
      for (const specifier of importsOf(path)) {
        if (specifier.startsWith('.')) {
          const target = relative(ROOT, resolve(dirname(path), specifier)).split('/')[0]!;
          if (target !== folder && !ALLOWED[folder]!.includes(target))
            wrong.push(`${relative(ROOT, path)} -> ${target}/`);
        } else if (folder === 'core' && !CORE_BUILTINS.includes(specifier)) {
          wrong.push(`${relative(ROOT, path)} -> ${specifier}`);
        }
      }
    }
    expect(wrong).toEqual([]);
  });
});
