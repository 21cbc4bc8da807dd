import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { build } from 'vite';

const ROOT = resolve(import.meta.dirname, '../..');

export interface CompiledScript {
  file: string;
  remove(): void;
}

/**
 * A script of the tests in one file with all that it imports of ours, for node to run: a start takes a seventh of the CPU
 * that compiling its modules on their way does. Packages are found from node_modules.
 */
export async function compiledScript(source: string): Promise<CompiledScript> {
  const folder = mkdtempSync(join(ROOT, 'node_modules/.whochanged-script-'));
  // Whoever a test runs it as has to read it.
  chmodSync(folder, 0o755);
  const name = basename(source, '.ts');
  await build({
    configFile: false,
    root: ROOT,
    logLevel: 'error',
    build: {
      ssr: true,
      target: 'node20',
      outDir: folder,
      copyPublicDir: false,
      rolldownOptions: { input: { [name]: source }, output: { entryFileNames: '[name].mjs' } },
    },
  });
  return {
    file: join(folder, `${name}.mjs`),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
