import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CliError, EXIT } from './exit.js';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];
const PRINT_MS = 120_000;

/** Debian's Chromium, or another by these names on the PATH; undefined where there is none. */
export function findChromium(path: string = process.env.PATH ?? ''): string | undefined {
  for (const folder of path.split(delimiter)) {
    for (const name of NAMES) {
      try {
        accessSync(join(folder, name), constants.X_OK);
        return join(folder, name);
      } catch {
        // Not there: the next one.
      }
    }
  }
  return undefined;
}

/**
 * Prints an HTML document as a PDF file, by a headless Chromium with a profile of its own.
 * @throws CliError where there is none, or it fails
 */
export async function printPDF(html: Buffer, file: string): Promise<void> {
  const chromium = findChromium();
  if (chromium === undefined)
    throw new CliError(
      EXIT.failed,
      'a PDF is printed by Chromium, and none is on the PATH',
      'apt-get install chromium; or --format html, and print that',
    );
  const folder = await mkdtemp(join(tmpdir(), 'whochanged-pdf-'));
  try {
    const page = join(folder, 'report.html');
    await writeFile(page, html);
    const args = [
      '--headless',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--no-pdf-header-footer',
      `--user-data-dir=${join(folder, 'profile')}`,
      `--print-to-pdf=${resolve(file)}`,
      // As root, which has no user namespace of its own in a container. The page holds no script, and nothing from elsewhere.
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
      pathToFileURL(page).href,
    ];
    const child = spawn(chromium, args, { stdio: 'ignore', timeout: PRINT_MS });
    const code = await new Promise<number | null>((done, fail) =>
      child.once('error', fail).once('close', done),
    );
    if (code !== 0)
      throw new CliError(
        EXIT.failed,
        `${chromium} did not print the PDF (exit code ${code ?? 'none: it took too long'})`,
        '--format html, and print that',
      );
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}
