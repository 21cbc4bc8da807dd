import { randomBytes } from 'node:crypto';
import { CreateBucketCommand, DeleteObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { type FauxqsServer, startFauxqs } from 'fauxqs';
import { createS3Source, type S3Location } from '../../store/s3-sources.js';
import type { TestDatabase } from './database.js';

/** What every process of a test finds in its environment: the SDK's default chain takes it. */
export const CREDENTIALS = { AWS_ACCESS_KEY_ID: 'whochanged', AWS_SECRET_ACCESS_KEY: 'whochanged-test' };

export interface TestS3 {
  endpoint: string;
  client: S3Client;
  /** SQS beside it. Only where fauxqs serves. */
  queues: FauxqsServer | undefined;
  createBucket(): Promise<string>;
  put(bucket: string, key: string, body: string | Buffer): Promise<{ etag: string }>;
  remove(bucket: string, key: string): Promise<void>;
  stop(): Promise<void>;
}

interface Running {
  endpoint: string;
  queues: FauxqsServer | undefined;
  stop(): Promise<void>;
}

const CONTAINER_START_MS = 60_000;

/**
 * An S3 server: in a container of the image that WHOCHANGED_TEST_S3_IMAGE names, else fauxqs in this process, which
 * speaks SQS too. docs/development.md says what fauxqs lacks.
 */
export async function startS3(): Promise<TestS3> {
  Object.assign(process.env, CREDENTIALS);
  const image = process.env.WHOCHANGED_TEST_S3_IMAGE;
  const { endpoint, queues, stop } = image === undefined ? await inProcess() : await inContainer(image);
  const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true });
  return {
    endpoint,
    client,
    queues,
    createBucket: async () => {
      const bucket = `audit-${randomBytes(4).toString('hex')}`;
      await client.send(new CreateBucketCommand({ Bucket: bucket }));
      return bucket;
    },
    put: async (Bucket, Key, Body) => {
      const { ETag } = await client.send(new PutObjectCommand({ Bucket, Key, Body }));
      return { etag: ETag!.replaceAll('"', '') };
    },
    remove: async (Bucket, Key) => void (await client.send(new DeleteObjectCommand({ Bucket, Key }))),
    stop: async () => {
      client.destroy();
      await stop();
    },
  };
}

async function inProcess(): Promise<Running> {
  const queues = await startFauxqs({ port: 0, logger: false });
  return { endpoint: `http://127.0.0.1:${queues.port}`, queues, stop: () => queues.stop() };
}

interface Server {
  /** What an image's name holds. */
  name: RegExp;
  port: number;
  command: string[];
}

const VERSITYGW: Server = { name: /versitygw/, port: 7070, command: ['--port', ':7070', 'posix', '/tmp'] };
const SERVERS: Server[] = [
  { name: /minio/, port: 9000, command: ['server', '/data'] },
  // test/harness/s3.Dockerfile
  { name: /fauxqs/, port: 4566, command: [] },
  VERSITYGW,
];

/** Servers are told apart by the image's name; MinIO and versitygw take their credentials from the environment. */
async function inContainer(image: string): Promise<Running> {
  const { GenericContainer, Wait } = await import('testcontainers');
  const { AWS_ACCESS_KEY_ID: key, AWS_SECRET_ACCESS_KEY: secret } = CREDENTIALS;
  const { port, command } = SERVERS.find(({ name }) => name.test(image)) ?? VERSITYGW;
  const described = new GenericContainer(image)
    .withEnvironment({
      MINIO_ROOT_USER: key,
      MINIO_ROOT_PASSWORD: secret,
      ROOT_ACCESS_KEY: key,
      ROOT_SECRET_KEY: secret,
    })
    .withExposedPorts(port)
    .withWaitStrategy(Wait.forListeningPorts())
    .withStartupTimeout(CONTAINER_START_MS);
  const container = await (command.length > 0 ? described.withCommand(command) : described).start();
  const endpoint = `http://${container.getHost()}:${container.getMappedPort(port)}`;
  return { endpoint, queues: undefined, stop: async () => void (await container.stop()) };
}

/** Adds a source that lies there, as the API does. Returns its id. */
export async function addS3Source(
  database: TestDatabase,
  s3: { endpoint: string },
  source: { name: string; bucket: string; since?: string; lookBackSeconds?: number } & Partial<S3Location>,
): Promise<number> {
  const { name, since = null, lookBackSeconds = 86_400, ...location } = source;
  const client = await database.pool.connect();
  try {
    return await createS3Source(client, {
      name,
      cluster: 'prod',
      location: {
        prefix: '',
        region: null,
        endpoint: s3.endpoint,
        pathStyle: true,
        roleARN: null,
        externalID: null,
        profile: null,
        format: 'auto',
        queueURL: null,
        ...location,
      },
      follow: { lookBackSeconds, since },
    });
  } finally {
    client.release();
  }
}
