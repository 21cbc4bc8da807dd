import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CliResult, runCli } from '../harness/cli.js';
import { freePort } from '../harness/free-port.js';
import { type RunningSystem, startSystem } from '../harness/system.js';
import { type LiveCluster, startCluster } from './live-cluster.js';
import { addSource, adminToken } from './live-ledger.js';

export interface KubeAnswer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into objects of every kind
  json: any;
}

/** whochanged and a real cluster that posts to it. */
export interface Live {
  folder: string;
  data: string;
  cluster: LiveCluster;
  http(): string;
  /** Asks the API with the admin's token. Throws on an error. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  api(path: string, method?: string, body?: object): Promise<any>;
  cli(args: string[]): Promise<CliResult>;
  /** Asks the apiserver with a token, as a controller does. */
  kube(
    token: string,
    method: string,
    path: string,
    body?: unknown,
    type?: string,
    agent?: string,
  ): Promise<KubeAnswer>;
  /** A token of a service account by TokenRequest; the account is made where it isn't there. */
  serviceAccountToken(namespace: string, name: string, audiences?: string[]): Promise<string>;
  stopSystem(): Promise<void>;
  /** Starts whochanged again, with this set besides. */
  startSystem(environment?: Record<string, string>): Promise<void>;
  /** Runs a job to its end. */
  runJob(name: string): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Starts both; whochanged's ports stay the same. `flags` are more flags of the apiserver, made when whochanged runs
 * already and knows the source `live`.
 */
export async function startLive(options: {
  bin: string;
  environment?: Record<string, string>;
  flags?: (parts: { folder: string; webhookKubeconfig: string; cli: Live['cli'] }) => Promise<string[]>;
}): Promise<Live> {
  const folder = await mkdtemp(join(tmpdir(), 'whochanged-e2e-'));
  await chmod(folder, 0o711);
  const data = join(folder, 'data');
  const environment = {
    WHOCHANGED_HTTP_PORT: String(await freePort()),
    WHOCHANGED_HTTPS_PORT: String(await freePort()),
    ...options.environment,
  };
  let system: RunningSystem = await startSystem(data, environment);
  let cluster: LiveCluster | undefined;
  const token = await adminToken(data);
  const stop = async () => {
    await cluster?.stop();
    await system.stop();
    if (!process.env.WHOCHANGED_E2E_KEEP) await rm(folder, { recursive: true, force: true });
  };
  const cli: Live['cli'] = (args) =>
    runCli(args, { folder, env: { WHOCHANGED_URL: system.http, WHOCHANGED_TOKEN: token } });
  try {
    const webhookKubeconfig = await addSource(system, data);
    const flags = (await options.flags?.({ folder, webhookKubeconfig, cli })) ?? [];
    cluster = await startCluster({
      bin: options.bin,
      folder: join(folder, 'cluster'),
      webhookKubeconfig,
      flags,
    });
  } catch (error) {
    await stop();
    throw error;
  }
  const ca = await readFile(cluster.caFile);
  const kube: Live['kube'] = async (bearer, method, path, body, type = 'application/json', agent = 'test') =>
    askKube({ url: `${cluster!.url}${path}`, ca, method, bearer, body, type, agent });
  const api: Live['api'] = async (path, method = 'GET', body) => {
    const response = await fetch(`${system.http}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  };
  return {
    folder,
    data,
    cluster,
    http: () => system.http,
    api,
    cli,
    kube,
    serviceAccountToken: async (namespace, name, audiences) => {
      const accounts = `/api/v1/namespaces/${namespace}/serviceaccounts`;
      await kube('admin-token', 'POST', accounts, { metadata: { name } });
      const asked = await kube('admin-token', 'POST', `${accounts}/${name}/token`, {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: { ...(audiences && { audiences }), expirationSeconds: 3600 },
      });
      if (asked.status !== 201) throw new Error(JSON.stringify(asked.json));
      return asked.json.status.token as string;
    },
    stopSystem: () => system.stop(),
    startSystem: async (more = {}) => {
      system = await startSystem(data, { ...environment, ...more });
    },
    runJob: async (name) => {
      // 409: it is at work already, and what it does not see yet would be missed.
      for (let attempt = 0; attempt < 120; attempt++) {
        try {
          await api(`/v1/jobs/${name}/run`, 'POST');
          return;
        } catch (error) {
          if (!/: (409|503) /.test((error as Error).message)) throw error;
        }
        await sleep(500);
      }
      throw new Error(`the job ${name} did not end`);
    },
    stop,
  };
}

function askKube(asked: {
  url: string;
  ca: Buffer;
  method: string;
  bearer: string;
  body: unknown;
  type: string;
  agent: string;
}): Promise<KubeAnswer> {
  const { url, ca, method, bearer, body, type, agent } = asked;
  return new Promise((resolve, reject) => {
    const sent = request(
      url,
      {
        method,
        ca,
        headers: {
          authorization: `Bearer ${bearer}`,
          'user-agent': agent,
          ...(body !== undefined && { 'content-type': type }),
        },
      },
      (response) => {
        let text = '';
        response
          .setEncoding('utf8')
          .on('data', (chunk: string) => (text += chunk))
          .on('end', () => resolve({ status: response.statusCode!, json: JSON.parse(text) }));
      },
    );
    sent.on('error', reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
