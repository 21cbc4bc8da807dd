import { type Browser, chromium } from 'playwright-core';
import { findChromium } from '../../cli/chromium.js';

export { findChromium };

/** @throws where no Chromium is installed */
export function launchChromium(): Promise<Browser> {
  const executablePath = findChromium();
  if (executablePath === undefined) throw new Error('no Chromium on the PATH: apt-get install chromium');
  // Containers have neither a user namespace for the sandbox nor much of /dev/shm. The page is our own.
  return chromium.launch({
    executablePath,
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
  });
}
