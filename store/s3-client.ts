import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import type { SQSClient } from '@aws-sdk/client-sqs';
import type { S3Place } from './s3-place.js';

/** Attempts of one request within the SDK, which waits between them longer and longer, with jitter. */
const MAX_ATTEMPTS = 4;
const CONNECT_MS = 5000;
/** Without a byte for so long a connection counts as broken. Reading goes on behind what was read. */
const IDLE_MS = 60_000;
const SESSION_NAME = 'whochanged';
/** Servers other than AWS mostly don't care, but a signature names one. */
const ANY_REGION = 'us-east-1';

type ClientOptions = Pick<
  S3ClientConfig,
  'region' | 'credentials' | 'maxAttempts' | 'retryMode' | 'requestHandler'
>;

/**
 * The clients of each place, made when first used: the SDK takes tens of megabytes, which a system without S3 is
 * spared. Credentials are the SDK's default chain (environment, shared configuration, web identity, ECS, EC2), from
 * the profile if one is named, to assume the role if one is named. They stay in memory.
 */
export class S3Clients {
  readonly #s3 = new Map<string, Promise<S3Client>>();
  readonly #sqs = new Map<string, Promise<SQSClient>>();

  s3(source: S3Place): Promise<S3Client> {
    return once(this.#s3, keyOf(source), async () => {
      const { S3Client } = await import('@aws-sdk/client-s3');
      return new S3Client({
        ...(await clientOptions(source)),
        ...(source.endpoint !== null && { endpoint: source.endpoint }),
        forcePathStyle: source.pathStyle,
        // Checksums that only AWS sends and knows; what was read is checked by what it decompresses and decodes to.
        requestChecksumCalculation: 'WHEN_REQUIRED',
        responseChecksumValidation: 'WHEN_REQUIRED',
      });
    });
  }

  /** For a queue beside an S3-compatible server, the endpoint is where the queue's URL points. */
  sqs(source: S3Place & { queueURL: string }): Promise<SQSClient> {
    return once(this.#sqs, `${keyOf(source)} ${source.queueURL}`, async () => {
      const { SQSClient } = await import('@aws-sdk/client-sqs');
      const { origin, hostname } = new URL(source.queueURL);
      const region = /^sqs\.([a-z0-9-]+)\.amazonaws\./.exec(hostname)?.[1];
      const options = await clientOptions({ ...source, region: region ?? source.region });
      return new SQSClient({ ...options, ...(region === undefined && { endpoint: origin }) });
    });
  }

  async stop(): Promise<void> {
    for (const clients of [this.#s3, this.#sqs])
      for (const client of clients.values()) (await client.catch(() => undefined))?.destroy();
  }
}

/** Places with equal settings share a client, and so its credentials and connections. */
function keyOf(source: S3Place): string {
  const { region, endpoint, pathStyle, roleARN, externalID, profile } = source;
  return JSON.stringify([region, endpoint, pathStyle, roleARN, externalID, profile]);
}

function once<T>(clients: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  let client = clients.get(key);
  if (!client) {
    client = make();
    clients.set(key, client);
    client.catch(() => clients.delete(key));
  }
  return client;
}

async function clientOptions(source: S3Place): Promise<ClientOptions> {
  const region = source.region ?? (source.endpoint === null ? undefined : ANY_REGION);
  return {
    ...(region !== undefined && { region }),
    ...(await credentialsOf(source, region)),
    maxAttempts: MAX_ATTEMPTS,
    // Slows down by itself when a server says that it is asked too much.
    retryMode: 'adaptive',
    requestHandler: { connectionTimeout: CONNECT_MS, requestTimeout: IDLE_MS, socketTimeout: IDLE_MS },
  };
}

async function credentialsOf(
  source: S3Place,
  region: string | undefined,
): Promise<Pick<ClientOptions, 'credentials'>> {
  const { roleARN, externalID, profile } = source;
  // Without either, the SDK's own default chain.
  if (roleARN === null && profile === null) return {};
  const { fromIni, fromNodeProviderChain, fromTemporaryCredentials } = await import(
    '@aws-sdk/credential-providers'
  );
  // The chain would warn of a profile beside keys in the environment, and says that it may prefer those one day.
  const own = profile === null ? fromNodeProviderChain() : fromIni({ profile });
  if (roleARN === null) return { credentials: own };
  return {
    credentials: fromTemporaryCredentials({
      masterCredentials: own,
      params: {
        RoleArn: roleARN,
        RoleSessionName: SESSION_NAME,
        ...(externalID !== null && { ExternalId: externalID }),
      },
      ...(region !== undefined && { clientConfig: { region } }),
    }),
  };
}
