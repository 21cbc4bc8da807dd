import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../harness/free-port.js';

/** Static tokens of a cluster that lives for one test. */
const TOKENS = `admin-token,kubernetes-admin,u-admin,"system:masters"
alice-token,alice@example.com,u-alice,"developers,platform"
bob-token,bob@example.com,u-bob,"developers"
ci-token,system:serviceaccount:ci:deployer,u-ci,"system:serviceaccounts,system:serviceaccounts:ci"
argo-token,system:serviceaccount:argocd:argocd-application-controller,u-argo,"system:serviceaccounts,system:serviceaccounts:argocd"
flux-token,system:serviceaccount:flux-system:kustomize-controller,u-flux,"system:serviceaccounts,system:serviceaccounts:flux-system"
mallory-token,mallory@example.com,u-mallory,""
`;
const USERS = ['admin', 'alice', 'bob', 'ci', 'argo', 'flux', 'mallory'];
const POLICY = `apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- {level: RequestResponse, verbs: [create, update, patch, delete, deletecollection]}
- {level: Metadata}
`;

export interface LiveCluster {
  kubeconfig: string;
  url: string;
  /** The certificate it serves with, which signed itself. */
  caFile: string;
  /** The apiserver's own audit log: what it says it has told. */
  auditLog: string;
  /** Throws where the apiserver is gone, with its last words: all that follows would only say that it doesn't answer. */
  stillRuns(): Promise<void>;
  /** Stops the controllers, then the apiserver, which delivers what it still holds, then etcd. */
  stop(): Promise<void>;
}

/** etcd, kube-apiserver and kube-controller-manager from `bin`, or the PATH, on loopback, in a new folder. */
export async function startCluster(options: {
  bin: string;
  folder: string;
  webhookKubeconfig: string;
  /** More flags of the apiserver. */
  flags?: string[];
}): Promise<LiveCluster> {
  const { bin, folder } = options;
  await mkdir(folder, { recursive: true });
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` };
  const run = (command: string, args: string[]): ChildProcess => {
    const log = openSync(join(folder, `${command}.log`), 'a');
    return spawn(command, args, { cwd: folder, env, stdio: ['ignore', log, log] });
  };
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' });
  openssl(
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    'sa.key',
    '-out',
    'ca.crt',
    '-days',
    '2',
    '-subj',
    '/CN=test-ca',
    '-addext',
    'subjectAltName=IP:127.0.0.1,DNS:localhost',
  );
  openssl('rsa', '-in', 'sa.key', '-pubout', '-out', 'sa.pub');
  const [etcdPort, peerPort, port] = [await freePort(), await freePort(), await freePort()];
  const kubeconfig = join(folder, 'kubeconfig');
  await writeFile(join(folder, 'tokens.csv'), TOKENS);
  await writeFile(join(folder, 'policy.yaml'), POLICY);
  await writeFile(
    kubeconfig,
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [
        { name: 'c', cluster: { server: `https://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true } },
      ],
      users: USERS.map((name) => ({ name, user: { token: `${name}-token` } })),
      contexts: [{ name: 'admin', context: { cluster: 'c', user: 'admin' } }],
      'current-context': 'admin',
    }),
  );
  const etcdURL = `http://127.0.0.1:${etcdPort}`;
  const peerURL = `http://127.0.0.1:${peerPort}`;
  const etcd = run('etcd', [
    '--data-dir',
    'etcd',
    '--listen-client-urls',
    etcdURL,
    '--advertise-client-urls',
    etcdURL,
    '--listen-peer-urls',
    peerURL,
    '--initial-advertise-peer-urls',
    peerURL,
    '--initial-cluster',
    `default=${peerURL}`,
  ]);
  const apiserver = run('kube-apiserver', [
    `--etcd-servers=${etcdURL}`,
    `--secure-port=${port}`,
    '--bind-address=127.0.0.1',
    '--advertise-address=127.0.0.1',
    '--tls-cert-file=ca.crt',
    '--tls-private-key-file=sa.key',
    '--token-auth-file=tokens.csv',
    '--authorization-mode=RBAC',
    '--service-account-issuer=https://kubernetes.default.svc',
    '--service-account-key-file=sa.pub',
    '--service-account-signing-key-file=sa.key',
    '--service-cluster-ip-range=10.0.0.0/24',
    '--audit-policy-file=policy.yaml',
    '--audit-log-path=audit.log',
    `--audit-webhook-config-file=${options.webhookKubeconfig}`,
    '--audit-webhook-batch-max-wait=1s',
    '--audit-webhook-initial-backoff=2s',
    ...(options.flags ?? []),
  ]);
  const processes = [etcd, apiserver];
  const stop = async () => {
    for (const child of [...processes].reverse()) await end(child);
  };
  try {
    await until(90, async () => {
      if (apiserver.exitCode !== null)
        throw new Error(await readFile(join(folder, 'kube-apiserver.log'), 'utf8'));
      execFileSync('kubectl', ['--kubeconfig', kubeconfig, 'get', 'ns', 'default'], { stdio: 'ignore', env });
    });
  } catch (error) {
    await stop();
    throw error;
  }
  processes.push(
    run('kube-controller-manager', [
      '--kubeconfig',
      kubeconfig,
      '--service-account-private-key-file=sa.key',
      '--root-ca-file=ca.crt',
      '--use-service-account-credentials=true',
      `--secure-port=${await freePort()}`,
      '--port=0',
    ]),
  );
  const stillRuns = async () => {
    if (apiserver.exitCode === null && apiserver.signalCode === null) return;
    const log = await readFile(join(folder, 'kube-apiserver.log'), 'utf8');
    const crash = log.search(/^(?:fatal error|panic|unexpected fault)/m);
    throw new Error(
      `kube-apiserver crashed: ${crash < 0 ? log.slice(-2000) : log.slice(crash, crash + 2000)}`,
    );
  };
  return {
    kubeconfig,
    url: `https://127.0.0.1:${port}`,
    caFile: join(folder, 'ca.crt'),
    auditLog: join(folder, 'audit.log'),
    stillRuns,
    stop,
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((done) => child.once('exit', done));
  child.kill('SIGTERM');
  const hard = setTimeout(() => child.kill('SIGKILL'), 30_000);
  await exited;
  clearTimeout(hard);
}

async function until(seconds: number, attempt: () => Promise<void>): Promise<void> {
  const last = Date.now() + seconds * 1000;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > last) throw error;
      await new Promise((done) => setTimeout(done, 500));
    }
  }
}
