import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');

export interface CompiledScript {
  file: string;
  remove(): void;
}

/** Makes of each program, by its name, one file in a folder for node to run, with all that it imports of ours. */
export async function buildForNode(
  folder: string,
  programs: Record<string, string>,
  output: { entryFileNames: string; chunkFileNames?: string },
  options: { withPackages?: boolean } = {},
): Promise<void> {
  const { build } = await import('vite');
  await build({
    configFile: false,
    root: ROOT,
    logLevel: 'error',
    build: {
      ssr: true,
      target: 'node20',
      outDir: folder,
      copyPublicDir: false,
      rolldownOptions: { input: programs, output },
    },
    ...(options.withPackages && { ssr: { noExternal: true } }),
  });
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
  await buildForNode(folder, { [name]: source }, { entryFileNames: '[name].mjs' });
  return {
    file: join(folder, `${name}.mjs`),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
