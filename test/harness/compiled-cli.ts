import { createHash } from 'node:crypto';
import { copyFileSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { buildForNode } from './compiled-script.js';

const ROOT = resolve(import.meta.dirname, '../..');
const CACHE = join(ROOT, 'node_modules/.cache/whochanged-cli');
const PROGRAMS = ['cli/whochanged', 'cli/kubectl-whochanged'];
/** Counted up where what is made of the same sources changes. */
const FORM = 2;

/**
 * A folder with the command line made of what its source is now, each program a file that holds all it loads at every
 * start: the tests start it four hundred times, and node finds and reads a hundred files in the time that all the rest takes.
 */
export async function compiledCli(): Promise<string> {
  const sources = sourcesOfCli();
  const folder = join(
    CACHE,
    createHash('sha256')
      .update(JSON.stringify([FORM, sources]))
      .digest('hex')
      .slice(0, 16),
  );
  if (exists(folder)) return folder;
  // Other test files may be at it too: whoever is first puts it in its place.
  const draft = `${folder}.${process.pid}`;
  await buildForNode(
    draft,
    Object.fromEntries(PROGRAMS.map((name) => [name, join(ROOT, `${name}.ts`)])),
    { entryFileNames: '[name].js', chunkFileNames: 'cli/[name].js' },
    { withPackages: true },
  );
  copyFileSync(join(ROOT, 'package.json'), join(draft, 'package.json'));
  try {
    renameSync(draft, folder);
  } catch (error) {
    if (!exists(folder)) throw error;
    rmSync(draft, { recursive: true });
  }
  return folder;
}

/** `cli/`, and what of `core/` it imports at run time. */
function sourcesOfCli(): Array<{ name: string; text: string }> {
  const names = new Set(
    readdirSync(join(ROOT, 'cli'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => join('cli', name)),
  );
  const sources: Array<{ name: string; text: string }> = [];
  for (const name of names) {
    const text = readFileSync(join(ROOT, name), 'utf8');
    sources.push({ name, text });
    for (const [, specifier] of text.matchAll(/^(?:import|export) (?!type )[^'"]*?from '(\.[^']+)\.js';$/gm))
      names.add(join(dirname(name), `${specifier}.ts`));
  }
  return sources.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function exists(folder: string): boolean {
  return statSync(folder, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
