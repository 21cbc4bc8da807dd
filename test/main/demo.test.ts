import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { programArguments } from '../harness/program.js';

const SEEDED = readFileSync(join(import.meta.dirname, '../fixtures/session/seeded-secrets.txt'), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'));

/** The cells of the table below a question. */
function rowsOf(output: string, question: RegExp): string[][] {
  const answer = output.split(/^\$ /m).find((part) => question.test(part))!;
  const lines = answer.split('\n').filter((line) => /^\d\d-\d\d \d\d:/.test(line));
  return lines.map((line) => line.split(/ {2,}/));
}

it('the demo says of a recorded cluster who changed what, and ends without a trace of trouble', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'whochanged-demo-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  // As root, Postgres runs as somebody who must be able to reach it.
  await chmod(folder, 0o711);
  const child = spawn(process.execPath, programArguments('main/demo'), {
    env: { PATH: process.env.PATH, TZ: 'UTC', WHOCHANGED_DATA_DIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const code = await new Promise<number | null>((done) => child.once('close', done));
  expect({ code, stderr }).toEqual({
    code: 0,
    stderr: '(there is more: raise --limit, or narrow the question)\n',
  });

  expect(stdout).toMatch(/^(\d+) audit events posted: \1 new, 0 known already$/m);
  const shop = rowsOf(stdout, /-n shop --since \S+ --until/);
  expect(shop).toHaveLength(40);
  const did = shop.map(([, who, , what, object, , how]) => [who, what, object, how]);
  for (const row of [
    [
      'alice@example.com',
      'delete',
      'shop deployments/web',
      'deleted (registry.example.com/shop/web:1.2.0, 3 replicas)',
    ],
    ['system:serviceaccount:ci:deployer', 'update', 'shop cronjobs/tick', 'suspend: false → true'],
    ['alice@example.com as bob@example.com', 'exec', 'shop pods/crate', 'exec into crate: id'],
    ['bob@example.com', 'rbac grant', 'shop roles/pod-reader', '+verb delete'],
    ['alice@example.com', 'rbac revoke', 'shop roles/pod-reader', '-verb delete'],
  ])
    expect(did).toContainEqual(row);

  const images = rowsOf(stdout, /^npx whochanged deploy\/web .* --field/);
  expect(images.map(([, who, , , , , how]) => [who, how])).toEqual([
    [
      'system:serviceaccount:ci:deployer',
      expect.stringMatching(
        /image web: registry\.example\.com\/shop\/web:1\.1\.0 → registry\.example\.com\/shop\/web:1\.2\.0$/,
      ),
    ],
    ['bob@example.com', '-container metrics'],
    ['system:serviceaccount:ci:deployer', '+container metrics=registry.example.com/shop/metrics:0.9.0'],
    [
      'bob@example.com',
      'image web: registry.example.com/shop/web:1.0.0 → registry.example.com/shop/web:1.1.0',
    ],
  ]);
  expect(stdout).toMatch(
    /^Set off:\n(?: {2}.*\n)* {2}\S+ create shop pods\/web-\S+ by \S+replicaset-controller$/m,
  );
  for (const secret of SEEDED) expect(stdout).not.toContain(secret);

  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  expect(files.some((file) => file.endsWith('PG_VERSION'))).toBe(true);
  expect(files.filter((file) => file.endsWith('postmaster.pid'))).toEqual([]);
  expect(existsSync(join(folder, 'demo/admin-token'))).toBe(true);
}, 120_000);
