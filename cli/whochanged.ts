#!/usr/bin/env node
import { createProgram, run } from './program.js';
import { readVersion } from './version.js';

await run(createProgram('whochanged', readVersion()), process.argv);
