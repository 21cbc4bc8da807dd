import { defineConfig } from 'vitest/config';
import { memoryFolder } from './test/harness/memory-folder.js';

// Where the tests and all that they start put their files.
if (process.env.TMPDIR === undefined) {
  const memory = memoryFolder();
  if (memory !== undefined) process.env.TMPDIR = memory;
}

const report = process.env.VITEST_JSON_REPORT;

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/harness/global-setup.ts'],
    pool: 'forks',
    // Files share their process, and what it has loaded: a third of the time. What one sets, it takes back.
    isolate: false,
    // One more than CI's cores: many tests wait for what takes time by itself, such as leases, restarts and retries.
    maxWorkers: 3,
    // Tests leave much garbage behind at once: looking for it less often takes a tenth of their CPU away.
    execArgv: ['--max-semi-space-size=64'],
    // Only ceilings: a machine that is busy with other things takes its time.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    reporters: report ? ['default', ['json', { outputFile: report }]] : ['default'],
  },
});
