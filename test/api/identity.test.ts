import { createHash } from 'node:crypto';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyRequest } from 'fastify';
import { generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { oidcAuthenticator } from '../../api/identity/oidc.js';
import type { WhochangedError } from '../../core/errors.js';
import { createAuthority, type KeyPair } from '../../main/certificates.js';
import { ask } from '../harness/api-client.js';
import { Cluster, eventList } from '../harness/events.js';
import {
  type HttpsService,
  type Issuer,
  issueClient,
  startHttps,
  startIssuer,
} from '../harness/identity-provider.js';
import { type RunningApi, startApi } from '../harness/running-api.js';

const ACCESS = `grants:
  - to: {oidcGroups: [oncall], certificates: [grafana], serviceAccounts: [ci/deployer]}
    role: reader
  - to: {oidcGroups: [team-shop], certificateOrganizations: [shop]}
    role: reader
    namespaces: [shop]
  - to: {oidcGroups: [team-vault], kubernetesGroups: [vault]}
    role: operator
    clusters: [default]
    namespaces: [vault]
  - to: {oidcUsers: [root@example.com]}
    role: admin
`;

let folder: string;
let issuer: Issuer;
let apiserver: HttpsService;
let clientCA: KeyPair;
let api: RunningApi;
/** What the apiserver knows. */
const TOKENS: Record<string, { username: string; groups: string[]; audiences?: string[] }> = {};
const serviceToken = (name: string) =>
  `${Buffer.from('{"alg":"RS256"}').toString('base64url')}.${Buffer.from(`{"iss":"https://kubernetes.default.svc","sub":"${name}"}`).toString('base64url')}.c2ln`;

/** As authentication.k8s.io/v1 describes TokenReview. */
function review(headers: Record<string, unknown>, body: string): { status?: number; json: unknown } {
  if (headers.authorization !== 'Bearer reviewer-token') return { status: 401, json: { kind: 'Status' } };
  const { apiVersion, kind, spec } = JSON.parse(body);
  if (apiVersion !== 'authentication.k8s.io/v1' || kind !== 'TokenReview') return { status: 400, json: {} };
  const user = TOKENS[spec.token];
  const audiences = (user?.audiences ?? spec.audiences).filter((name: string) =>
    spec.audiences.includes(name),
  );
  const status =
    user && (audiences.length > 0 || user.audiences?.length === 0)
      ? {
          authenticated: true,
          user: { username: user.username, uid: '1', groups: user.groups },
          ...(audiences.length > 0 && { audiences }),
        }
      : { authenticated: false, user: {}, error: 'token is not known' };
  return { status: 201, json: { apiVersion, kind, metadata: {}, spec, status } };
}

async function replaceAccess(text: string): Promise<void> {
  await writeFile(join(folder, 'next.yaml'), text);
  await rename(join(folder, 'next.yaml'), join(folder, 'access.yaml'));
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whochanged-identity-'));
  issuer = await startIssuer();
  apiserver = await startHttps((incoming, body) => review(incoming.headers, body));
  clientCA = await createAuthority(new Date());
  await writeFile(join(folder, 'access.yaml'), ACCESS);
  await writeFile(join(folder, 'issuer.crt'), issuer.caPem);
  await writeFile(join(folder, 'cluster.crt'), apiserver.caPem);
  await writeFile(join(folder, 'clients.crt'), clientCA.certificatePem);
  await writeFile(join(folder, 'reviewer-token'), 'reviewer-token\n');
  api = await startApi({
    WHOCHANGED_ACCESS_FILE: join(folder, 'access.yaml'),
    WHOCHANGED_OIDC_ISSUER: issuer.url,
    WHOCHANGED_OIDC_AUDIENCES: 'whochanged',
    WHOCHANGED_OIDC_CA_FILE: join(folder, 'issuer.crt'),
    WHOCHANGED_OIDC_ALGORITHMS: 'ES256',
    WHOCHANGED_CLIENT_CA_FILE: join(folder, 'clients.crt'),
    WHOCHANGED_TOKEN_REVIEW_URL: apiserver.url,
    WHOCHANGED_TOKEN_REVIEW_AUDIENCES: 'whochanged',
    WHOCHANGED_TOKEN_REVIEW_CA_FILE: join(folder, 'cluster.crt'),
    WHOCHANGED_TOKEN_REVIEW_TOKEN_FILE: join(folder, 'reviewer-token'),
  });
  const cluster = new Cluster();
  await api.post(
    eventList(
      ['shop', 'vault', 'other'].map((namespace) =>
        cluster.write(
          'create',
          { resource: 'configmaps', namespace, name: `in-${namespace}` },
          { kind: 'ConfigMap' },
        ),
      ),
    ),
  );
});
afterAll(async () => {
  await api?.stop();
  await issuer?.stop();
  await apiserver?.stop();
  await rm(folder, { recursive: true, force: true });
});

const whoami = (token: string) => ask(api, '/v1/whoami', { token });
const seen = async (token: string) =>
  ((await ask(api, '/v1/objects', { token })).json.items as Array<{ object: { namespace: string } }>)
    .map((item) => item.object.namespace)
    .sort();

describe('an OIDC token', () => {
  it('tells who somebody is; groups give grants, and several add up', async () => {
    const token = await issuer.sign({ groups: ['team-shop', 'team-vault', 'choir'] });
    expect((await whoami(token)).json).toMatchObject({
      name: 'alice',
      kind: 'oidc',
      groups: ['team-shop', 'team-vault', 'choir'],
      grants: [
        { role: 'reader', clusters: null, namespaces: ['shop'] },
        { role: 'operator', clusters: ['default'], namespaces: ['vault'] },
      ],
      expiresAt: expect.stringMatching(/Z$/),
      lastUsedAt: null,
    });
    expect(await seen(token)).toEqual(['shop', 'vault']);
    expect(await seen(await issuer.sign({ groups: ['oncall'] }))).toEqual(['other', 'shop', 'vault']);
  });

  it('has all its grants in the access event', async () => {
    await seen(await issuer.sign({ sub: 'carol', groups: ['team-shop', 'team-vault'] }));
    const { json } = await ask(api, '/v1/access-events?caller=carol');
    expect(json.items[0]).toMatchObject({
      callerKind: 'oidc',
      role: 'operator',
      clusters: null,
      namespaces: ['shop', 'vault'],
      grants: [{ namespaces: ['shop'] }, { clusters: ['default'], namespaces: ['vault'] }],
    });
  });

  it('without a grant is told who it is, and nothing else', async () => {
    const token = await issuer.sign({ groups: 'choir' });
    expect((await whoami(token)).json).toMatchObject({ name: 'alice', groups: ['choir'], grants: [] });
    const refused = await ask(api, '/v1/changes', { token });
    expect([refused.status, refused.json.detail]).toEqual([403, 'nothing is granted to "alice"']);
  });

  const now = () => Math.floor(Date.now() / 1000);
  it.each<[string, () => Promise<string>, RegExp]>([
    ['has expired', () => issuer.sign({ exp: now() - 60 }), /has expired/],
    ['never expires', () => issuer.sign({ exp: undefined }), /claim exp/],
    ['is not valid yet', () => issuer.sign({ nbf: now() + 120 }), /claim nbf/],
    ['is for another service', () => issuer.sign({ aud: 'grafana' }), /claim aud/],
    ['has no subject', () => issuer.sign({ sub: undefined }), /claim sub/],
    [
      'hides a line in its name',
      () => issuer.sign({ sub: 'alice\nadmin' }),
      /claim sub is missing, or is no name/,
    ],
    ['names a key that is not there', () => issuer.sign({}, { kid: 'other' }), /no key of the issuer/],
    [
      'is signed by somebody else under a known key id',
      async () => {
        const { privateKey } = await generateKeyPair('ES256');
        return new SignJWT({ sub: 'alice', aud: 'whochanged', iss: issuer.url, exp: now() + 60 })
          .setProtectedHeader({ alg: 'ES256', kid: 'key-1' })
          .sign(privateKey);
      },
      /signature/,
    ],
    [
      'is signed with the public key as a shared secret',
      () =>
        new SignJWT({ sub: 'alice', aud: 'whochanged', iss: issuer.url, exp: now() + 60 })
          .setProtectedHeader({ alg: 'HS256', kid: 'key-1' })
          .sign(Buffer.from('a public key that everybody knows')),
      /algorithm that is not allowed/,
    ],
    [
      'is signed by an algorithm off the list',
      async () => {
        const { privateKey } = await generateKeyPair('RS256');
        return new SignJWT({ sub: 'alice', aud: 'whochanged', iss: issuer.url, exp: now() + 60 })
          .setProtectedHeader({ alg: 'RS256' })
          .sign(privateKey);
      },
      /algorithm that is not allowed/,
    ],
  ])('that %s is refused, and why is said', async (_name, make, reason) => {
    const answer = await whoami(await make());
    expect([answer.status, answer.json.code]).toEqual([401, 'unauthenticated']);
    expect(answer.json.detail).toMatch(reason);
  });

  it('without a signature, or altered, is refused', async () => {
    const unsigned = new UnsecuredJWT({ iss: issuer.url, sub: 'alice', aud: 'whochanged' }).encode();
    const good = await issuer.sign({});
    const [head, , signature] = good.split('.');
    const forged = Buffer.from(
      JSON.stringify({ iss: issuer.url, aud: 'whochanged', sub: 'root@example.com' }),
    );
    for (const token of [unsigned, `${unsigned}x`, `${head}.${forged.toString('base64url')}.${signature}`])
      expect((await whoami(token)).status).toBe(401);
  });

  it('is believed within the clock skew', async () => {
    expect((await whoami(await issuer.sign({ exp: now() - 5 }))).status).toBe(200);
  });
});

describe('the keys of an issuer', () => {
  it('are fetched once; again when it signs with a new one; and are used while it is away', async () => {
    const own = await startIssuer();
    const authenticate = oidcAuthenticator({
      issuer: own.url,
      audiences: ['whochanged'],
      algorithms: ['ES256'],
      usernameClaim: 'email',
      groupsClaim: 'groups',
      clockSkewSeconds: 0,
      ca: () => own.caPem,
      grantsOf: () => [],
    });
    const claims = { email: 'alice@example.com', email_verified: true };
    const outcome = async (token: string) => {
      try {
        return (await authenticate({} as FastifyRequest, token))?.name;
      } catch (error) {
        return (error as WhochangedError).code;
      }
    };
    try {
      own.up = false;
      expect(await outcome(await own.sign(claims))).toBe('identity_unavailable');
      own.up = true;
      const settled = { timeout: 30_000, interval: 200 };
      await expect.poll(async () => outcome(await own.sign(claims)), settled).toBe('alice@example.com');
      for (let i = 0; i < 5; i++) expect(await outcome(await own.sign(claims))).toBe('alice@example.com');
      expect(own.asked.filter((path) => path === '/keys')).toHaveLength(1);
      expect(await outcome(await own.sign({ email: 'eve@example.com' }))).toBe('unauthenticated');

      const old = await own.sign(claims);
      await own.rotate(true);
      await expect.poll(async () => outcome(await own.sign(claims)), settled).toBe('alice@example.com');
      expect(await outcome(old)).toBe('unauthenticated');

      own.up = false;
      expect(await outcome(await own.sign(claims))).toBe('alice@example.com');
    } finally {
      await own.stop();
    }
  });
});

/** Asks over TLS with a client certificate. */
function askWith(pair: KeyPair | undefined, path: string, headers: Record<string, string> = {}) {
  return new Promise<{ status: number; text: string }>((resolve, reject) => {
    const sent = request(
      new URL(path, api.https),
      {
        rejectUnauthorized: false,
        ...(pair && { cert: pair.certificatePem, key: pair.keyPem }),
        headers,
        agent: false,
      },
      (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => {
          text += chunk.toString('utf8');
        });
        response.on('end', () => resolve({ status: response.statusCode!, text }));
      },
    );
    sent.on('error', reject);
    sent.end();
  });
}

describe('a client certificate', () => {
  it('tells who somebody is: common name and organizations', async () => {
    const shop = await issueClient(clientCA, [{ CN: ['checkout'] }, { O: ['shop'] }, { O: ['eu'] }]);
    const answer = await askWith(shop, '/v1/whoami');
    expect(JSON.parse(answer.text)).toMatchObject({
      name: 'checkout',
      kind: 'client_cert',
      groups: ['shop', 'eu'],
      grants: [{ role: 'reader', clusters: null, namespaces: ['shop'] }],
    });
    const grafana = await issueClient(clientCA, [{ CN: ['grafana'] }]);
    expect(JSON.parse((await askWith(grafana, '/v1/objects')).text).items).toHaveLength(3);
  });

  it('is refused from another CA, out of its time, for servers, or without a name', async () => {
    const foreign = await createAuthority(new Date());
    const refused: Array<[KeyPair, RegExp]> = [
      [await issueClient(foreign, [{ CN: ['grafana'] }]), /no CA of WHOCHANGED_CLIENT_CA_FILE/],
      [await issueClient(clientCA, [{ CN: ['grafana'] }], { days: -1 }), /not valid now/],
      [await issueClient(clientCA, [{ CN: ['grafana'] }], { usage: 'server' }), /not for clients/],
      [await issueClient(clientCA, [{ O: ['shop'] }]), /no common name/],
      [await issueClient(clientCA, [{ CN: ['nobody'] }, { CN: ['grafana'] }]), /no common name, or several/],
    ];
    for (const [pair, reason] of refused) {
      const { status, text } = await askWith(pair, '/v1/whoami');
      expect([status, JSON.parse(text).detail]).toEqual([401, expect.stringMatching(reason)]);
    }
    // Its subject holds what another's name is, as text.
    const sly = await issueClient(clientCA, [{ CN: ['x\nCN=grafana'] }]);
    expect((await askWith(sly, '/v1/whoami')).status).toBe(401);
  });

  it('counts for nothing beside a token', async () => {
    const grafana = await issueClient(clientCA, [{ CN: ['grafana'] }]);
    const wrong = await askWith(grafana, '/v1/whoami', { authorization: 'Bearer wc_nothing' });
    expect(wrong.status).toBe(401);
    const admin = await askWith(grafana, '/v1/whoami', { authorization: `Bearer ${api.adminToken}` });
    expect(JSON.parse(admin.text)).toMatchObject({ name: 'first admin', kind: 'token' });
  });

  it('serves the command line', async () => {
    const pair = await issueClient(clientCA, [{ CN: ['grafana'] }]);
    await writeFile(join(folder, 'cli.crt'), pair.certificatePem);
    await writeFile(join(folder, 'cli.key'), pair.keyPem);
    const flags = ['--url', api.https, '--ca-file', join(api.folder, 'tls/ca.crt')];
    const files = ['--cert-file', join(folder, 'cli.crt'), '--key-file', join(folder, 'cli.key')];
    const { stdout, code } = await api.cli(['whoami', ...flags, ...files, '-o', 'json'], {
      WHOCHANGED_TOKEN: '',
    });
    expect([code, JSON.parse(stdout)]).toMatchObject([0, { name: 'grafana', kind: 'client_cert' }]);
  });
});

describe('a token of a Kubernetes cluster', () => {
  it('is reviewed by its apiserver', async () => {
    const token = serviceToken('deployer');
    TOKENS[token] = { username: 'system:serviceaccount:ci:deployer', groups: ['system:serviceaccounts'] };
    expect((await whoami(token)).json).toMatchObject({
      name: 'system:serviceaccount:ci:deployer',
      kind: 'service_account',
      grants: [{ role: 'reader', clusters: null, namespaces: null }],
    });
    const before = apiserver.asked.length;
    for (let i = 0; i < 5; i++) expect((await whoami(token)).status).toBe(200);
    expect(apiserver.asked.length - before).toBeLessThan(2);
    const person = serviceToken('eve');
    TOKENS[person] = { username: 'eve', groups: ['vault'] };
    expect((await whoami(person)).json).toMatchObject({
      kind: 'kubernetes_user',
      grants: [{ role: 'operator' }],
    });
  });

  it('is refused where the apiserver does not know it, or not for us', async () => {
    const elsewhere = serviceToken('elsewhere');
    TOKENS[elsewhere] = { username: 'eve', groups: ['vault'], audiences: ['vault'] };
    const unaware = serviceToken('unaware');
    TOKENS[unaware] = { username: 'eve', groups: ['vault'], audiences: [] };
    for (const token of [serviceToken('nobody'), elsewhere, unaware]) {
      const answer = await whoami(token);
      expect([answer.status, answer.json.detail]).toEqual([
        401,
        expect.stringMatching(/does not know this token/),
      ]);
    }
  });

  it('is no business of the apiserver where it is one of ours', async () => {
    const before = apiserver.asked.length;
    await whoami(api.adminToken);
    await whoami('wc_nothing');
    expect(apiserver.asked.length).toBe(before);
  });
});

describe('the access file', () => {
  it('holds at once when it changes, and the last good one while it is not valid', async () => {
    const token = await issuer.sign({ sub: 'dave', groups: ['team-shop'] });
    expect(await seen(token)).toEqual(['shop']);
    await replaceAccess('grants:\n  - to: {oidcUsers: [dave]}\n    role: reader\n    namespaces: [vault]\n');
    expect(await seen(token)).toEqual(['vault']);
    await replaceAccess('grants: [{to: {oidcUsers: ["*"]}, role: root}]');
    expect(await seen(token)).toEqual(['vault']);
    expect(api.log()).toMatch(/the access file is not valid/);
    await replaceAccess(ACCESS);
    expect(await seen(token)).toEqual(['shop']);
  });

  it('is told by access events of whochanged itself: which one, and when it changed', async () => {
    const loaded = async () =>
      (
        await ask(api, '/v1/access-events?caller=whochanged&route=file%20WHOCHANGED_ACCESS_FILE')
      ).json.items.map(
        ({ method, callerKind, target }: Record<string, string>) => `${callerKind} ${method} ${target}`,
      );
    const line = (text: string) => `system LOAD sha256:${createHash('sha256').update(text).digest('hex')}`;
    const poll = { timeout: 15_000, interval: 300 };
    await expect.poll(async () => (await loaded())[0], poll).toBe(line(ACCESS));
    const other = `${ACCESS}# reviewed\n`;
    await replaceAccess(other);
    await expect.poll(async () => (await loaded()).slice(0, 2), poll).toEqual([line(other), line(ACCESS)]);
  });
});

describe('a token of ours', () => {
  it('shows when it ends and when it was used last', async () => {
    const expiresAt = new Date(Date.now() + 86_400_000).toISOString();
    const { json } = await ask(api, '/v1/tokens', {
      method: 'POST',
      body: { name: 'ci', role: 'reader', expiresAt },
    });
    const listed = async () =>
      (await ask(api, '/v1/tokens')).json.items.find((item: { name: string }) => item.name === 'ci');
    expect((await listed()).lastUsedAt).toBeNull();
    const me = (await whoami(json.token)).json;
    expect(me).toMatchObject({ name: 'ci', kind: 'token', grants: [{ role: 'reader' }] });
    expect(Date.parse(me.expiresAt)).toBe(Date.parse(expiresAt));
    expect(Math.abs(Date.parse(me.lastUsedAt) - Date.now())).toBeLessThan(60_000);
    expect((await listed()).lastUsedAt).toBe(me.lastUsedAt);
  });
});
