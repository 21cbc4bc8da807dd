import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pool } from 'pg';
import { webhookKubeconfig } from '../ingest/webhook/kubeconfig.js';
import { createApiToken, newSecret } from '../store/api-tokens.js';
import { createSource } from '../store/sources.js';

const SOURCE = 'default';

export interface FirstStart {
  tokenFile: string;
  kubeconfigFile: string;
  /** Only when it has just been made. */
  token: string | undefined;
}

/** On the first start: an admin token and a first source with its kubeconfig, as files that only their owner can read. */
export async function prepareFirstStart(
  pool: Pool,
  options: { dataDir: string; publicURL: string; caPem: string },
): Promise<FirstStart> {
  const tokenFile = join(options.dataDir, 'admin-token');
  const kubeconfigFile = join(options.dataDir, 'webhook-kubeconfig.yaml');
  const client = await pool.connect();
  try {
    await client.query('begin');
    await client.query('lock table api_tokens in exclusive mode');
    let token: string | undefined;
    const tokens = await client.query('select 1 from api_tokens limit 1');
    if (tokens.rowCount === 0) {
      token = await createApiToken(client, { name: 'first admin', role: 'admin' });
      await writeFile(tokenFile, `${token}\n`, { mode: 0o600 });
    }
    const sources = await client.query('select 1 from sources limit 1');
    if (sources.rowCount === 0) {
      const { secret, sha256 } = newSecret('wcs');
      await createSource(client, { name: SOURCE, cluster: 'default', secretSha256: sha256 });
      const kubeconfig = webhookKubeconfig({
        baseURL: options.publicURL,
        source: SOURCE,
        caPem: options.caPem,
        token: secret,
      });
      await writeFile(kubeconfigFile, kubeconfig, { mode: 0o600 });
    }
    await client.query('commit');
    return { tokenFile, kubeconfigFile, token };
  } catch (error) {
    await client.query('rollback');
    throw error;
  } finally {
    client.release();
  }
}

/** What a person reads after the start: where it is, how to ask, how to connect a cluster. */
export async function welcome(first: FirstStart, urls: { api: string; webhook: string }): Promise<string> {
  const hasKubeconfig = await readFile(first.kubeconfigFile).then(
    () => true,
    () => false,
  );
  const lines = [
    '',
    `  whochanged is up at ${urls.api}  (API docs: ${urls.api}/docs)`,
    `  audit events are received at ${urls.webhook}/ingest/v1/audit/<source>`,
    '',
    ...(first.token ? [`  first admin token (kept in ${first.tokenFile}):`, `    ${first.token}`, ''] : []),
    '  Connect a cluster: give its kube-apiserver an audit policy and',
    hasKubeconfig
      ? `    --audit-webhook-config-file=${first.kubeconfigFile}`
      : '    the kubeconfig that `npx whochanged source add NAME --cluster NAME` prints',
    '',
    '  Then ask:',
    `    export WHOCHANGED_TOKEN_FILE=${first.tokenFile}`,
    '    npx whochanged --since 30m',
    '    npx whochanged deploy/web -n prod --since 2h',
    '',
  ];
  return lines.join('\n');
}
