#!/usr/bin/env node
import { createProgram, run } from './program.js';
import { readVersion } from './version.js';

// kubectl runs `kubectl-whochanged` on the PATH for `kubectl whochanged`.
await run(createProgram('kubectl whochanged', readVersion()), process.argv);
