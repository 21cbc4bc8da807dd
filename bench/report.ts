import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Figures, figuresIn, withFigures } from './figures.js';

/**
 * `npm run bench -- [NAME...]`
 * Regenerates the figures of docs/performance.md: runs the commands that its marks name, all of them or those named here,
 * one after another, and puts what each prints below its mark, with the day and the commit, as soon as it has ended. One
 * that fails leaves its figures as they were, and the others go on. All of them take hours, and 50 million events 30 GB of
 * disk; what the commands read from the environment (BENCH_KEEP) is passed on.
 */
const ROOT = join(import.meta.dirname, '..');
const DOCUMENT = join(ROOT, 'docs/performance.md');
const run = promisify(execFile);

async function madeFrom(): Promise<string> {
  const { stdout: commit } = await run('git', ['rev-parse', '--short', 'HEAD'], { cwd: ROOT });
  const { stdout: altered } = await run('git', ['status', '--porcelain', '--', '*.ts'], { cwd: ROOT });
  return altered === '' ? commit.trim() : `${commit.trim()} and what is not committed`;
}

async function measure({ name, command }: Figures): Promise<string> {
  const from = await madeFrom();
  const started = performance.now();
  const child = run('bash', ['-c', command], { cwd: ROOT, maxBuffer: 1 << 24 });
  child.child.stderr!.pipe(process.stderr);
  const { stdout } = await child;
  const minutes = (performance.now() - started) / 60_000;
  const day = new Date().toISOString().slice(0, 10);
  console.log(`${name}\n${stdout.trim()}`);
  return `${day}, of commit ${from}, in ${minutes.toFixed(0)} minutes\n${stdout.trim()}`;
}

const known = figuresIn(await readFile(DOCUMENT, 'utf8'));
const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !known.some((figures) => figures.name === name));
if (unknown.length > 0) {
  console.error(
    `${DOCUMENT} has no figures called ${unknown.join(', ')}; it has ${known.map(({ name }) => name).join(', ')}`,
  );
  process.exit(2);
}
for (const figures of known.filter(({ name }) => asked.length === 0 || asked.includes(name))) {
  try {
    const measured = await measure(figures);
    await writeFile(DOCUMENT, withFigures(await readFile(DOCUMENT, 'utf8'), figures.name, measured));
  } catch (error) {
    console.error(`${figures.name}: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}
