import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { createAuthority, issueCertificate, type KeyPair } from '../../main/certificates.js';

const DAY_MS = 86_400_000;
const EC = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** An HTTPS server on loopback with a certificate of an authority of its own. */
export interface HttpsService {
  url: string;
  caPem: string;
  /** Paths that were asked for. */
  asked: string[];
  stop(): Promise<void>;
}

export async function startHttps(
  answer: (request: IncomingMessage, body: string) => { status?: number; json: unknown },
): Promise<HttpsService> {
  const now = new Date();
  const authority = await createAuthority(now);
  const names = ['localhost', '127.0.0.1'];
  const pair = await issueCertificate(
    authority,
    { commonName: 'test', names, usage: 'server', days: 1 },
    now,
  );
  const asked: string[] = [];
  const server: Server = createServer(
    { cert: pair.certificatePem, key: pair.keyPem },
    (request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => {
        body += chunk.toString('utf8');
      });
      request.on('end', () => {
        asked.push(request.url!);
        const { status = 200, json } = answer(request, body);
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json));
      });
    },
  );
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `https://localhost:${(server.address() as AddressInfo).port}`,
    caPem: authority.certificatePem,
    asked,
    stop: () =>
      new Promise((done) => {
        server.closeAllConnections();
        server.close(() => done());
      }),
  };
}

export interface Issuer extends HttpsService {
  /** Whether it answers at all. */
  up: boolean;
  /** Makes a new key, which signs from now on. `drop`: the old ones are withdrawn. */
  rotate(drop?: boolean): Promise<void>;
  /** A token by the newest key, for the audience `whochanged` and ten minutes, unless the claims say otherwise. */
  sign(claims: Record<string, unknown>, header?: { alg?: string; kid?: string }): Promise<string>;
}

/** An OpenID provider: discovery, keys, and tokens really signed with them. */
export async function startIssuer(): Promise<Issuer> {
  let keys: Array<{ kid: string; privateKey: webcrypto.CryptoKey; jwk: JWK }> = [];
  let made = 0;
  let up = true;
  const service = await startHttps(({ url }) => {
    if (!up) return { status: 503, json: {} };
    if (url === '/.well-known/openid-configuration')
      return { json: { issuer: service.url, jwks_uri: `${service.url}/keys` } };
    if (url === '/keys') return { json: { keys: keys.map(({ jwk }) => jwk) } };
    return { status: 404, json: {} };
  });
  const rotate = async (drop = false) => {
    const kid = `key-${++made}`;
    const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
    const jwk = { ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' };
    keys = [...(drop ? [] : keys), { kid, privateKey, jwk }];
  };
  await rotate();
  return {
    ...service,
    get up() {
      return up;
    },
    set up(next: boolean) {
      up = next;
    },
    rotate,
    sign: (claims: Record<string, unknown>, header: { alg?: string; kid?: string } = {}) => {
      const { kid, privateKey } = keys.at(-1)!;
      const now = Math.floor(Date.now() / 1000);
      return new SignJWT({
        iss: service.url,
        aud: 'whochanged',
        sub: 'alice',
        iat: now,
        exp: now + 600,
        ...claims,
      })
        .setProtectedHeader({ alg: 'ES256', kid, ...header })
        .sign(privateKey);
    },
  };
}

/** A client certificate as `openssl` would make it; `days` may lie in the past. */
export async function issueClient(
  authority: KeyPair,
  subject: Array<Record<string, string[]>>,
  options: { days?: number; usage?: 'client' | 'server' } = {},
): Promise<KeyPair> {
  const { days = 1, usage = 'client' } = options;
  const keys = await webcrypto.subtle.generateKey(EC, true, ['sign', 'verify']);
  const signing = Buffer.from(authority.keyPem.replace(/-----[A-Z ]+-----|\s/g, ''), 'base64');
  const certificate = await X509CertificateGenerator.create({
    serialNumber: '0102',
    subject,
    issuer: new X509Certificate(authority.certificatePem).subject,
    notBefore: new Date(Date.now() - 3 * DAY_MS),
    notAfter: new Date(Date.now() + days * DAY_MS),
    signingAlgorithm: EC,
    publicKey: keys.publicKey,
    signingKey: await webcrypto.subtle.importKey('pkcs8', signing, EC, false, ['sign']),
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new ExtendedKeyUsageExtension([
        usage === 'client' ? ExtendedKeyUsage.clientAuth : ExtendedKeyUsage.serverAuth,
      ]),
    ],
  });
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  const keyPem = `-----BEGIN PRIVATE KEY-----\n${der
    .toString('base64')
    .match(/.{1,64}/g)!
    .join('\n')}\n-----END PRIVATE KEY-----\n`;
  return { certificatePem: certificate.toString('pem'), keyPem };
}
