import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

/**
 * `npm run bench -- [sessions] [lean|full]`
 * Measures ingest with both mixes of traffic, or the one named, and puts the figures into docs/performance.md, between its marks.
 */
const sessions = process.argv[2] ?? '20';
const mixes = (['lean', 'full'] as const).filter((mix) => mix === (process.argv[3] ?? mix));
const DOCUMENT = join(import.meta.dirname, '../docs/performance.md');
const run = promisify(execFile);

async function measure(mix: 'lean' | 'full'): Promise<string> {
  const { stdout } = await run(
    process.execPath,
    ['--import', 'tsx', join(import.meta.dirname, 'ingest.ts'), sessions, '1,4,16', '--rivals'],
    { env: { ...process.env, BENCH_MIX: mix }, maxBuffer: 1 << 24 },
  );
  return stdout.trim();
}

let document = await readFile(DOCUMENT, 'utf8');
for (const mix of mixes) {
  const figures = await measure(mix);
  console.log(`${mix}\n${figures}`);
  const block = new RegExp(`(<!-- figures: ${mix} -->)[^]*?(<!-- end -->)`);
  if (!block.test(document)) throw new Error(`${DOCUMENT} has no marks for ${mix}`);
  document = document.replace(
    block,
    (_all, begin: string, end: string) => `${begin}\n\n\`\`\`text\n${figures}\n\`\`\`\n\n${end}`,
  );
}
await writeFile(DOCUMENT, document);
