import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

// Few commands need these, and each takes as long to load as all the rest of the command line.

export function yaml(): typeof import('yaml') {
  return require('yaml') as typeof import('yaml');
}

export function csv(): typeof import('csv-parse/sync') {
  return require('csv-parse/sync') as typeof import('csv-parse/sync');
}

export function bars(): typeof import('cli-progress') {
  return require('cli-progress') as typeof import('cli-progress');
}
