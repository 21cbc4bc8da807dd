import { X509Certificate } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { createAuthority, issueCertificate, type KeyPair } from '../../main/certificates.js';
import { createLogger } from '../../main/log.js';
import { buildServer } from '../../main/server.js';
import { openTls, type TlsMaterial, type TlsOptions } from '../../main/tls.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whochanged-tls-'));
});
afterEach(() => rm(folder, { recursive: true }));

const silent = pino({ level: 'silent' });

function captureLog() {
  let text = '';
  const write = (line: string) => {
    text += line;
  };
  return { log: createLogger('info', { write }), logged: () => text };
}

async function open(options: Partial<TlsOptions> = {}, log = silent): Promise<TlsMaterial> {
  const tls = await openTls(
    { folder: join(folder, 'tls'), certFile: undefined, keyFile: undefined, hostnames: [], ...options },
    log,
  );
  onTestFinished(() => tls.stop());
  return tls;
}

/** The real server over TLS, with a route that tells whose certificate the client presented. */
async function listen(tls: TlsMaterial): Promise<number> {
  const server = await buildServer({
    log: silent,
    tls,
    timeouts: { headersSeconds: 20, bodySeconds: 300, stalledSeconds: 60 },
    webhook: undefined,
    registerApi: undefined,
  });
  server.get('/client', (request) => {
    const certificate = (request.raw.socket as TLSSocket).getPeerX509Certificate();
    return { subject: certificate?.subject ?? null, issuer: certificate?.issuer ?? null };
  });
  await server.listen({ host: '127.0.0.1', port: 0 });
  onTestFinished(() => server.close());
  return (server.server.address() as AddressInfo).port;
}

interface Ask {
  port: number;
  ca: string;
  name?: string;
  client?: KeyPair;
}

/** A handshake as an apiserver makes it, then GET /client. Rejects when the certificate or its name is not trusted. */
async function ask({
  port,
  ca,
  name = 'localhost',
  client,
}: Ask): Promise<{ body: string; server: X509Certificate }> {
  const socket = connect({
    host: '127.0.0.1',
    port,
    ca,
    servername: name,
    ...(client && { cert: client.certificatePem, key: client.keyPem }),
  });
  await new Promise<void>((done, fail) => socket.once('secureConnect', done).once('error', fail));
  const server = socket.getPeerX509Certificate()!;
  socket.write(`GET /client HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`);
  let body = '';
  for await (const chunk of socket.setEncoding('utf8')) body += chunk;
  return { body, server };
}

async function writePair(path: string, pair: KeyPair): Promise<void> {
  await writeFile(`${path}.crt`, pair.certificatePem);
  await writeFile(`${path}.key`, pair.keyPem);
}

async function serverPair(authority: KeyPair, name: string, days = 90): Promise<KeyPair> {
  return issueCertificate(
    authority,
    { commonName: name, names: ['localhost', name], usage: 'server', days },
    new Date(),
  );
}

describe('our own certificate', () => {
  it('is trusted through our authority, under every name of this machine and the configured ones', async () => {
    const tls = await open({ hostnames: ['audit.example.com', '10.0.0.5', '*.wild.example.com'] });
    const port = await listen(tls);
    for (const name of ['localhost', 'audit.example.com', 'a.wild.example.com']) {
      expect((await ask({ port, ca: tls.authorityPem, name })).body).toContain('200 OK');
    }
    await expect(ask({ port, ca: tls.authorityPem, name: 'other.example.com' })).rejects.toMatchObject({
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    });
    await expect(ask({ port, ca: (await createAuthority(new Date())).certificatePem })).rejects.toThrow();

    const certificate = new X509Certificate(tls.current().certificatePem);
    for (const address of ['127.0.0.1', '::1', '10.0.0.5'])
      expect(certificate.checkIP(address)).toBe(address);
    expect(certificate.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' });
    const days = (Date.parse(certificate.validTo) - Date.now()) / 86_400_000;
    expect(days).toBeGreaterThan(364);
    expect(days).toBeLessThan(366);
    const authority = new X509Certificate(tls.authorityPem);
    expect(authority.ca).toBe(true);
    expect(certificate.ca).toBe(false);
    expect((Date.parse(authority.validTo) - Date.now()) / (365 * 86_400_000)).toBeGreaterThan(9.9);
    for (const name of ['ca.key', 'server.key'])
      expect((await stat(join(folder, 'tls', name))).mode & 0o777).toBe(0o600);
  });

  it('stays over restarts, and is made anew for a new name, near its end, or when it is damaged', async () => {
    const first = await open();
    expect((await open()).current()).toEqual(first.current());

    const named = await open({ hostnames: ['audit.example.com'] });
    expect(named.current()).not.toEqual(first.current());
    expect(named.authorityPem).toBe(first.authorityPem);

    const authority: KeyPair = {
      certificatePem: first.authorityPem,
      keyPem: await readFile(join(folder, 'tls/ca.key'), 'utf8'),
    };
    const names = ['localhost', '127.0.0.1', '::1', hostname()];
    const ending = await issueCertificate(
      authority,
      { commonName: 'whochanged', names, usage: 'server', days: 29 },
      new Date(),
    );
    await writePair(join(folder, 'tls/server'), ending);
    const renewed = await open();
    expect(renewed.current()).not.toEqual(ending);
    expect((await ask({ port: await listen(renewed), ca: first.authorityPem })).body).toContain('200 OK');

    // Half a renewal: the new key with the old certificate.
    await writeFile(join(folder, 'tls/server.key'), first.current().keyPem);
    expect((await ask({ port: await listen(await open()), ca: first.authorityPem })).body).toContain(
      '200 OK',
    );
  });

  it('never comes from a new authority because the old one is damaged', async () => {
    await open();
    await writeFile(join(folder, 'tls/ca.key'), 'damaged');
    await expect(open()).rejects.toMatchObject({
      message: expect.stringContaining('our certificate authority cannot be used'),
      hint: expect.stringContaining('restore'),
    });
    expect(await readFile(join(folder, 'tls/ca.key'), 'utf8')).toBe('damaged');
  });
});

describe('a client certificate', () => {
  it('is issued for a source, and seen by the server', async () => {
    const tls = await open();
    const port = await listen(tls);
    const client = await tls.issueClient('prod-a', 90);
    const { body } = await ask({ port, ca: tls.authorityPem, client });
    expect(body).toContain('CN=prod-a');
    expect((await ask({ port, ca: tls.authorityPem })).body).toContain('"subject":null');
  });

  it('passes where our authority is demanded; one of another authority, or for servers, does not', async () => {
    const tls = await open();
    const { certificatePem, keyPem } = tls.current();
    const strict = createServer(
      {
        cert: certificatePem,
        key: keyPem,
        ca: tls.authorityPem,
        requestCert: true,
        rejectUnauthorized: true,
      },
      (socket) => {
        socket.once('data', () => socket.end(`welcome ${socket.getPeerX509Certificate()?.subject}`));
      },
    );
    strict.on('tlsClientError', () => undefined);
    await new Promise<void>((done) => strict.listen(0, '127.0.0.1', done));
    onTestFinished(() => void strict.close());
    const { port } = strict.address() as AddressInfo;

    const welcomed = await ask({ port, ca: tls.authorityPem, client: await tls.issueClient('prod-a', 90) });
    expect(welcomed.body).toBe('welcome CN=prod-a');
    const stranger = await issueCertificate(
      await createAuthority(new Date()),
      { commonName: 'prod-a', names: [], usage: 'client', days: 90 },
      new Date(),
    );
    for (const client of [stranger, tls.current()]) {
      const outcome = await ask({ port, ca: tls.authorityPem, client }).catch((error: Error) => error);
      expect(outcome instanceof Error || outcome.body === '').toBe(true);
    }
  });
});

describe("the operator's certificate", () => {
  it('is taken over when it changes, without a restart; a broken one leaves the old in use and is told', async () => {
    const authority = await createAuthority(new Date());
    const path = join(folder, 'operator');
    await writePair(path, await serverPair(authority, 'first.example.com'));
    const { log, logged } = captureLog();
    const tls = await open({ certFile: `${path}.crt`, keyFile: `${path}.key` }, log);
    const port = await listen(tls);
    const serves = async () => (await ask({ port, ca: authority.certificatePem })).server.subject;
    expect(await serves()).toBe('CN=first.example.com');

    await writePair(path, await serverPair(authority, 'second.example.com'));
    await expect.poll(serves, { timeout: 5000 }).toBe('CN=second.example.com');

    await writeFile(`${path}.crt`, 'not a certificate');
    await expect.poll(logged, { timeout: 5000 }).toContain('operator.crt is not a PEM certificate');
    expect(await serves()).toBe('CN=second.example.com');

    // A certificate whose key has not come yet.
    const third = await serverPair(authority, 'third.example.com');
    await writeFile(`${path}.crt`, third.certificatePem);
    await expect.poll(logged, { timeout: 5000 }).toContain('do not belong together');
    expect(await serves()).toBe('CN=second.example.com');
    await writeFile(`${path}.key`, third.keyPem);
    await expect.poll(serves, { timeout: 5000 }).toBe('CN=third.example.com');
    expect(logged()).not.toContain('PRIVATE KEY');
  });

  it('is taken over also when a link to its folder is replaced, as Kubernetes does for mounted Secrets', async () => {
    const authority = await createAuthority(new Date());
    const mount = join(folder, 'mount');
    for (const [version, name] of [
      ['v1', 'first.example.com'],
      ['v2', 'second.example.com'],
    ] as const) {
      await mkdir(join(mount, version), { recursive: true });
      await writePair(join(mount, version, 'tls'), await serverPair(authority, name));
    }
    await symlink('v1', join(mount, '..data'));
    for (const name of ['tls.crt', 'tls.key']) await symlink(`..data/${name}`, join(mount, name));
    const tls = await open({ certFile: join(mount, 'tls.crt'), keyFile: join(mount, 'tls.key') });
    const port = await listen(tls);
    await symlink('v2', join(mount, '..data_tmp'));
    await rename(join(mount, '..data_tmp'), join(mount, '..data'));
    const serves = async () => (await ask({ port, ca: authority.certificatePem })).server.subject;
    await expect.poll(serves, { timeout: 5000 }).toBe('CN=second.example.com');
  });

  it('refuses at the start what cannot be used, and warns of one that has expired', async () => {
    const authority = await createAuthority(new Date());
    const path = join(folder, 'operator');
    const pair = await serverPair(authority, 'first.example.com', -1);
    await writePair(path, { ...pair, keyPem: (await serverPair(authority, 'other.example.com')).keyPem });
    const files = { certFile: `${path}.crt`, keyFile: `${path}.key` };
    await expect(open(files)).rejects.toThrow('do not belong together');
    await writePair(path, pair);
    const { log, logged } = captureLog();
    await open(files, log);
    expect(logged()).toContain('the TLS certificate has expired');
  });
});
