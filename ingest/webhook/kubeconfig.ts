import { stringify } from 'yaml';

export interface KubeconfigParts {
  /** Base URL of the receiver as the apiserver reaches it, https. */
  baseURL: string;
  source: string;
  /** PEM of the CA that signed the receiver's certificate. */
  caPem: string;
  token?: string;
  clientCertificate?: { certificatePem: string; keyPem: string };
}

/**
 * The kubeconfig for `--audit-webhook-config-file`. client-go sends tokens and certificates over https only
 * (client-go rest/transport.go), and posts to the server URL as it stands.
 */
export function webhookKubeconfig(parts: KubeconfigParts): string {
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const user: Record<string, string> = {};
  if (parts.token !== undefined) user.token = parts.token;
  if (parts.clientCertificate) {
    user['client-certificate-data'] = base64(parts.clientCertificate.certificatePem);
    user['client-key-data'] = base64(parts.clientCertificate.keyPem);
  }
  return stringify(
    {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [
        {
          name: 'whochanged',
          cluster: {
            server: `${parts.baseURL.replace(/\/+$/, '')}/ingest/v1/audit/${encodeURIComponent(parts.source)}`,
            'certificate-authority-data': base64(parts.caPem),
          },
        },
      ],
      users: [{ name: parts.source, user }],
      contexts: [{ name: 'audit', context: { cluster: 'whochanged', user: parts.source } }],
      'current-context': 'audit',
    },
    { lineWidth: 0 },
  );
}
