import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { programArguments } from './program.js';

const ROOT = resolve(import.meta.dirname, '../..');

/** Runs the standalone verifier in a process of its own; both of its outputs, as they came. */
export async function runVerify(args: string[]): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [...programArguments('verify/whochanged-verify'), ...args], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  const code = await new Promise<number | null>((done) => child.once('close', done));
  return { code, output };
}
