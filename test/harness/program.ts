import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');
const SOURCES = ['api', 'core', 'ingest', 'jobs', 'main', 'migrations', 'store', 'verify'];

let built: boolean | undefined;

/** Whether what is built is newer than all that it was built from: it starts in half the time. */
function isBuilt(): boolean {
  // The compiler leaves alone what would come out the same, but for its notes on what it has seen.
  const notes = join(ROOT, 'dist/.tsbuildinfo');
  built ??= existsSync(join(ROOT, 'dist/main/main.js')) && existsSync(notes) && newerThanSources(notes);
  return built;
}

function newerThanSources(file: string): boolean {
  const { mtimeMs } = statSync(file);
  return SOURCES.every((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).every(
      (file) => statSync(join(ROOT, folder, file)).mtimeMs <= mtimeMs,
    ),
  );
}

/** What node is to be started with to run a program of ours, named by its source without `.ts`: as built, or compiled on its way. */
export function programArguments(
  name: 'main/main' | 'main/demo' | 'verify/whochanged-verify',
  from: 'sources' | 'build' = isBuilt() ? 'build' : 'sources',
): string[] {
  return from === 'build' ? [join(ROOT, `dist/${name}.js`)] : ['--import', 'tsx', join(ROOT, `${name}.ts`)];
}
