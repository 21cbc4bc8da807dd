import { createHash } from 'node:crypto';
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');
const CACHE = join(ROOT, 'node_modules/.cache/whochanged-cli');

/**
 * A folder with the command line compiled from what its source is now: the tests start it a hundred times, and node
 * alone starts in a third of the time that it takes with a compiler.
 */
export async function compiledCli(): Promise<string> {
  const sources = sourcesOfCli();
  const folder = join(CACHE, createHash('sha256').update(JSON.stringify(sources)).digest('hex').slice(0, 16));
  if (exists(folder)) return folder;
  const { default: ts } = await import('typescript');
  // Other test files may be at it too: whoever is first puts it in its place.
  const draft = `${folder}.${process.pid}`;
  for (const { name, text } of sources) {
    const { outputText } = ts.transpileModule(text, {
      compilerOptions: { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext },
    });
    const path = join(draft, name.replace(/\.ts$/, '.js'));
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, outputText);
  }
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
