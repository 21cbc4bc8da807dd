import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import type { RunningApi } from './running-api.js';

export interface AdmissionUser {
  username: string;
  groups?: string[];
  extra?: Record<string, string[]>;
}

/** An AdmissionReview as kube-apiserver 1.32 sends it for a Deployment. */
export function deploymentReview(options: {
  uid: string;
  user: AdmissionUser;
  image: string;
  namespace?: string;
  dryRun?: boolean;
  operation?: 'CREATE' | 'UPDATE';
  annotations?: Record<string, string>;
}): object {
  const { uid, user, namespace = 'shop', operation = 'UPDATE' } = options;
  const gvk = { group: 'apps', version: 'v1', kind: 'Deployment' };
  const gvr = { group: 'apps', version: 'v1', resource: 'deployments' };
  const object = (image: string) => ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: {
      name: 'web',
      namespace,
      uid: 'a3c2e2f6-4f6c-4c2f-9f4e-1f5f2a3b4c5d',
      labels: { app: 'web' },
      annotations: options.annotations ?? {},
    },
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: 'web' } },
      template: {
        metadata: { labels: { app: 'web' } },
        spec: {
          containers: [{ name: 'web', image, env: [{ name: 'PASSWORD', value: 'hunter2-in-the-clear' }] }],
        },
      },
    },
  });
  return {
    kind: 'AdmissionReview',
    apiVersion: 'admission.k8s.io/v1',
    request: {
      uid,
      kind: gvk,
      resource: gvr,
      requestKind: gvk,
      requestResource: gvr,
      name: 'web',
      namespace,
      operation,
      userInfo: user,
      object: object(options.image),
      oldObject: operation === 'UPDATE' ? object('web:0') : null,
      dryRun: options.dryRun ?? false,
      options: { kind: 'UpdateOptions', apiVersion: 'meta.k8s.io/v1' },
    },
  };
}

export interface AdmissionAnswer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  json: any;
}

/** Posts a review as an apiserver does: by HTTPS, whose certificate is checked, with a source's credential. */
export function postReview(
  api: Pick<RunningApi, 'https' | 'folder'>,
  path: string,
  review: unknown,
  credential: { token?: string; cert?: string; key?: string },
): Promise<AdmissionAnswer> {
  return new Promise((resolve, reject) => {
    const asked = request(
      `${api.https}${path}?timeout=5s`,
      {
        method: 'POST',
        ca: readFileSync(join(api.folder, 'tls/ca.crt')),
        ...(credential.cert !== undefined && { cert: credential.cert, key: credential.key }),
        headers: {
          'content-type': 'application/json',
          ...(credential.token !== undefined && { authorization: `Bearer ${credential.token}` }),
        },
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode!, json: JSON.parse(text) }));
      },
    );
    asked.on('error', reject);
    asked.end(JSON.stringify(review));
  });
}
