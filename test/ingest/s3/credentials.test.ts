import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startReceiver, type TestReceiver } from '../../harness/receiver.js';
import { addS3Source, CREDENTIALS, startS3, type TestS3 } from '../../harness/s3.js';
import { deployments, ledgerCounts, lines, once, QUICK, settled } from '../../harness/s3-ledger.js';
import { type S3Proxy, startS3Proxy } from '../../harness/s3-proxy.js';

const ROLE = 'arn:aws:iam::111122223333:role/audit-reader';
const FORBIDDEN = 'arn:aws:iam::111122223333:role/somebody-elses';
const TEMPORARY = { key: 'ASIAEXAMPLEROLE', secret: 'synthetic-role-secret', session: 'synthetic-session' };
/** What a pod or a task is given in the place of keys, and by what. */
const FOUND = {
  webIdentity: { key: 'ASIAEXAMPLEPOD', secret: 'synthetic-pod-secret', session: 'synthetic-pod-session' },
  container: { key: 'ASIAEXAMPLETASK', secret: 'synthetic-task-secret', session: 'synthetic-task-session' },
};
const PROFILE = { key: 'AKIAEXAMPLEPROFILE', secret: 'synthetic-profile-secret' };

let s3: TestS3;
let proxy: S3Proxy;
let receiver: TestReceiver;
let sts: Server;
let stsURL: string;
let folder: string;
const asked: Array<{ signedBy: string | undefined; parameters: URLSearchParams }> = [];
const environment: Record<string, string | undefined> = {};

beforeAll(async () => {
  s3 = await startS3();
  proxy = await startS3Proxy(s3.endpoint);
  sts = await startSts();
  folder = await mkdtemp(join(tmpdir(), 'whochanged-aws-'));
  await writeFile(
    join(folder, 'credentials'),
    `[audit]\naws_access_key_id = ${PROFILE.key}\naws_secret_access_key = ${PROFILE.secret}\n`,
  );
  stsURL = `http://127.0.0.1:${(sts.address() as AddressInfo).port}`;
  const set = {
    AWS_ENDPOINT_URL_STS: stsURL,
    AWS_SHARED_CREDENTIALS_FILE: join(folder, 'credentials'),
    AWS_CONFIG_FILE: join(folder, 'config'),
  };
  for (const name of Object.keys(set)) environment[name] = process.env[name];
  Object.assign(process.env, set);
  receiver = await startReceiver(QUICK);
  receiver.ingest.s3.start();
});
afterAll(async () => {
  await receiver.stop();
  await proxy.stop();
  await s3.stop();
  sts.closeAllConnections();
  await new Promise((done) => sts.close(done));
  await rm(folder, { recursive: true, force: true });
  for (const [name, value] of Object.entries(environment)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
});

/**
 * AssumeRole and AssumeRoleWithWebIdentity as STS answers them (docs.aws.amazon.com/STS, API version 2011-06-15), and what
 * the endpoint of a container answers (AWS SDKs reference guide, "Container credential provider").
 */
async function startSts(): Promise<Server> {
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request.setEncoding('utf8')) body += chunk as string;
    const expires = new Date(Date.now() + 3_600_000).toISOString();
    if (request.method === 'GET') {
      const { key, secret, session } = FOUND.container;
      const given =
        request.url === '/v1/credentials' && request.headers.authorization === 'Bearer of-the-task';
      response
        .writeHead(given ? 200 : 403, { 'content-type': 'application/json' })
        .end(
          JSON.stringify({ AccessKeyId: key, SecretAccessKey: secret, Token: session, Expiration: expires }),
        );
      return;
    }
    const parameters = new URLSearchParams(body);
    const action = parameters.get('Action')!;
    const { key, secret, session } = action === 'AssumeRole' ? TEMPORARY : FOUND.webIdentity;
    asked.push({ signedBy: signerOf(request.headers), parameters });
    const role = parameters.get('RoleArn');
    response.setHeader('content-type', 'text/xml');
    if (role === FORBIDDEN) {
      response.writeHead(403).end(
        `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>AccessDenied</Code>
         <Message>User: arn:aws:iam::111122223333:user/reader is not authorized to perform: sts:AssumeRole on resource: ${role}</Message></Error></ErrorResponse>`,
      );
      return;
    }
    response.end(
      `<${action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><${action}Result><Credentials>
       <AccessKeyId>${key}</AccessKeyId><SecretAccessKey>${secret}</SecretAccessKey>
       <SessionToken>${session}</SessionToken><Expiration>${expires}</Expiration>
       </Credentials></${action}Result></${action}Response>`,
    );
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return server;
}

/** The access key of a signature (AWS Signature Version 4, header `authorization`). */
function signerOf(headers: { authorization?: string | undefined }): string | undefined {
  return /Credential=([^/]+)\//.exec(headers.authorization ?? '')?.[1];
}

/** What a bucket was asked with: who signed, and which session token came along. */
function signers(bucket: string): string[] {
  const own = proxy.requests.filter((request) => request.bucket === bucket);
  expect(own.length).toBeGreaterThan(1);
  return [
    ...new Set(own.map(({ headers }) => `${signerOf(headers)} ${headers['x-amz-security-token'] ?? ''}`)),
  ];
}

async function bucketOf(name: string): Promise<string> {
  const bucket = await s3.createBucket();
  await s3.put(bucket, 'a.json', lines(deployments(2, name)));
  return bucket;
}

describe('the credentials of a source', () => {
  it('are those of the role that it names, assumed with its external id by whochanged’s own', async () => {
    const bucket = await bucketOf('role');
    const source = await addS3Source(receiver.database, proxy, {
      name: 'role',
      bucket,
      roleARN: ROLE,
      externalID: 'ledger-7',
    });
    await receiver.ingest.s3.poke();
    await settled(receiver, source, 1);
    expect(await ledgerCounts(receiver, source)).toEqual(once(2));
    expect(signers(bucket)).toEqual([`${TEMPORARY.key} ${TEMPORARY.session}`]);
    expect(asked.map(({ signedBy }) => signedBy)).toEqual([CREDENTIALS.AWS_ACCESS_KEY_ID]);
    expect(Object.fromEntries(asked[0]!.parameters)).toMatchObject({
      Action: 'AssumeRole',
      RoleArn: ROLE,
      ExternalId: 'ledger-7',
      RoleSessionName: 'whochanged',
    });
  });

  it('are those of the profile that it names, else the environment’s', async () => {
    const named = await bucketOf('profile');
    const other = await bucketOf('plain');
    const sources = [
      await addS3Source(receiver.database, proxy, { name: 'profile', bucket: named, profile: 'audit' }),
      await addS3Source(receiver.database, proxy, { name: 'plain', bucket: other }),
    ];
    await receiver.ingest.s3.poke();
    for (const source of sources) await settled(receiver, source, 1);
    expect(signers(named)).toEqual([`${PROFILE.key} `]);
    expect(signers(other)).toEqual([`${CREDENTIALS.AWS_ACCESS_KEY_ID} `]);
  });

  it('are those that a pod or a task is given, where there are no keys', async () => {
    const token = join(folder, 'token');
    await writeFile(token, 'synthetic.web.identity');
    const given = {
      webIdentity: { AWS_WEB_IDENTITY_TOKEN_FILE: token, AWS_ROLE_ARN: ROLE },
      container: {
        AWS_CONTAINER_CREDENTIALS_FULL_URI: `${stsURL}/v1/credentials`,
        AWS_CONTAINER_AUTHORIZATION_TOKEN: 'Bearer of-the-task',
      },
    };
    const regions = { webIdentity: 'eu-west-1', container: 'eu-west-2' };
    for (const way of ['webIdentity', 'container'] as const) {
      const bucket = await bucketOf(way.toLowerCase());
      for (const name of Object.keys(CREDENTIALS)) delete process.env[name];
      Object.assign(process.env, given[way]);
      try {
        // Of a region of its own, it has a client of its own.
        const source = await addS3Source(receiver.database, proxy, {
          name: way.toLowerCase(),
          bucket,
          region: regions[way],
        });
        await receiver.ingest.s3.poke();
        await settled(receiver, source, 1);
      } finally {
        for (const name of Object.keys(given[way])) delete process.env[name];
        Object.assign(process.env, CREDENTIALS);
      }
      expect(signers(bucket)).toEqual([`${FOUND[way].key} ${FOUND[way].session}`]);
    }
    expect(Object.fromEntries(asked.at(-1)!.parameters)).toMatchObject({
      Action: 'AssumeRoleWithWebIdentity',
      RoleArn: ROLE,
      WebIdentityToken: 'synthetic.web.identity',
    });
    // Who shows a token signs nothing.
    expect(asked.at(-1)!.signedBy).toBeUndefined();
  });

  it('that may not be assumed are named, with the action and the role, and no secret is told', async () => {
    const bucket = await bucketOf('forbidden');
    const source = await addS3Source(receiver.database, proxy, {
      name: 'forbidden',
      bucket,
      roleARN: FORBIDDEN,
    });
    await receiver.ingest.s3.poke();
    const error = async () =>
      (await receiver.database.pool.query('select error from s3_scans where source_id = $1', [source]))
        .rows[0].error;
    await expect.poll(error, { timeout: 30_000 }).toMatchObject({
      code: 'assume_role_denied',
      message: `sts:AssumeRole on ${FORBIDDEN} is not allowed`,
      hint: expect.stringContaining('trust policy'),
    });
    const told = JSON.stringify((await receiver.database.pool.query('select * from s3_scans')).rows);
    for (const secret of [TEMPORARY.secret, TEMPORARY.session, PROFILE.secret, 'user/reader'])
      expect(told).not.toContain(secret);
  });
});
