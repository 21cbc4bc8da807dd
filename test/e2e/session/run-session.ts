/**
 * Acts out a session against the cluster of $KUBECONFIG and notes when each action ran.
 *
 *   KUBECONFIG=... node --import tsx test/e2e/session/run-session.ts ACTIONS.yaml TIMES.json
 *
 * The kubeconfig's users must carry static tokens under the names that the actions' `as` uses. Each action's exit code
 * or HTTP status is noted, not judged: many are meant to fail.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parse, stringify } from 'yaml';
import { type Action, type ActionTime, readActions } from './actions.js';
import { startKubeletStandIn } from './kubelet-stand-in.js';

/** Where the session's node says that its kubelet listens. */
const KUBELET_PORT = 20250;
/** Controllers answer a change within this time, on the whole; `settle_ms` is for those that take longer. */
const SETTLE_MS = 700;

interface Kubeconfig {
  'current-context': string;
  clusters: { cluster: { server: string } }[];
  users: { name: string; user: { token?: string } }[];
  contexts: { name: string; context: { user: string } }[];
}

/** The cluster as each user sees it. */
interface Access {
  server: string;
  folder: string;
  kubeconfig(user: string): string;
  token(user: string): string;
}

function openAccess(path: string): Access {
  const config = parse(readFileSync(path, 'utf8')) as Kubeconfig;
  const server = config.clusters[0]?.cluster.server;
  if (!server) throw new Error(`${path}: names no cluster`);
  const folder = mkdtempSync(join(tmpdir(), 'session-'));
  return {
    server,
    folder,
    kubeconfig(user) {
      const contexts = config.contexts.map((entry) =>
        entry.name === config['current-context'] ? { ...entry, context: { ...entry.context, user } } : entry,
      );
      const own = join(folder, `${user}.yaml`);
      writeFileSync(own, stringify({ ...config, contexts }), { mode: 0o600 });
      return own;
    },
    token(user) {
      // A user that the kubeconfig doesn't know logs in with a token that the cluster doesn't know.
      return config.users.find((entry) => entry.name === user)?.user.token ?? 'not-a-token-of-this-cluster';
    },
  };
}

function runCommand(action: Action, access: Access): Promise<number> {
  const child = spawn('bash', ['-c', action.run!], {
    cwd: access.folder,
    env: {
      PATH: process.env.PATH,
      HOME: access.folder,
      KUBECONFIG: access.kubeconfig(action.as),
      KUBECACHEDIR: join(access.folder, 'cache'),
    },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let output = '';
  const collect = (chunk: Buffer) => {
    if (output.length < 4000) output += chunk.toString();
  };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  child.stdin.on('error', () => undefined);
  child.stdin.end(action.manifest ?? '');
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      if (process.env.SESSION_VERBOSE) process.stderr.write(output.slice(0, 1500));
      resolve(code ?? 255);
    });
  });
}

function sendRequest(action: Action, access: Access): Promise<number> {
  const { method, path, headers = {}, body } = action.request!;
  const text = body !== undefined ? JSON.stringify(body) : action.manifest;
  return new Promise((resolve, reject) => {
    const call = request(
      new URL(path, access.server),
      {
        method,
        rejectUnauthorized: false,
        headers: {
          Authorization: `Bearer ${access.token(action.as)}`,
          Accept: 'application/json',
          'User-Agent': 'session-script/1.0',
          // Node sends no length with a DELETE by itself, and the apiserver then doesn't see the body.
          ...(text === undefined
            ? {}
            : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) }),
          ...headers,
        },
      },
      (response) => {
        let answer = '';
        response.on('data', (chunk: Buffer) => {
          if (answer.length < 1500) answer += chunk.toString();
        });
        response.on('error', reject);
        response.on('end', () => {
          if (process.env.SESSION_VERBOSE) process.stderr.write(`${answer.slice(0, 400)}\n`);
          resolve(response.statusCode ?? 0);
        });
      },
    );
    call.on('error', reject);
    call.end(text);
  });
}

async function run(actionsPath: string, timesPath: string, kubeconfigPath: string): Promise<void> {
  const { actions } = readActions(actionsPath);
  const access = openAccess(kubeconfigPath);
  const kubelet = await startKubeletStandIn(KUBELET_PORT);
  const times: ActionTime[] = [];
  try {
    for (const action of actions) {
      const startedAt = new Date();
      const result =
        action.run === undefined ? await sendRequest(action, access) : await runCommand(action, access);
      times.push({
        id: action.id,
        started_at: startedAt.toISOString(),
        finished_at: new Date().toISOString(),
        result,
      });
      process.stderr.write(`${action.id} (${action.as}): ${result}\n`);
      await sleep(action.settle_ms ?? SETTLE_MS);
    }
  } finally {
    await kubelet.close();
    rmSync(access.folder, { recursive: true });
    writeFileSync(timesPath, `${JSON.stringify(times, null, 1)}\n`);
  }
}

const [actionsPath, timesPath] = process.argv.slice(2);
const kubeconfigPath = process.env.KUBECONFIG;
if (!actionsPath || !timesPath || !kubeconfigPath) {
  process.stderr.write(
    'usage: KUBECONFIG=... node --import tsx test/e2e/session/run-session.ts ACTIONS.yaml TIMES.json\n',
  );
  process.exit(2);
}
await run(actionsPath, timesPath, kubeconfigPath);
