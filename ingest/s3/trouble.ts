import type { S3Source } from '../../store/s3-sources.js';
import type { Trouble } from '../../store/source-objects.js';

/** What was being done when it failed: the permission that it takes, and on what. */
export interface Attempt {
  action: 's3:ListBucket' | 's3:GetObject' | 'sqs:ReceiveMessage' | 'sqs:DeleteMessage';
  arn: string;
  /** `s3://bucket/key` or the queue's URL. */
  where: string;
  /** The role that is assumed, the profile that is used. */
  roleARN?: string | null;
  profile?: string | null;
}

/** That a request to AWS, or a server like it, failed: for reasons of theirs, the network's or the configuration's. */
export class ServiceTrouble extends Error {
  readonly trouble: Trouble;

  constructor(error: unknown, attempt: Attempt) {
    const trouble = explain(error, attempt);
    super(trouble.message);
    this.name = 'ServiceTrouble';
    this.trouble = trouble;
  }
}

/** @throws ServiceTrouble when the request fails */
export async function asking<T>(attempt: Attempt, request: () => Promise<T>): Promise<T> {
  try {
    return await request();
  } catch (error) {
    throw new ServiceTrouble(error, attempt);
  }
}

/** The parts of the SDK's errors that are read: their messages are AWS's own words, and may name accounts and keys. */
interface ServiceError {
  name?: string;
  message?: string;
  code?: string;
  Code?: string;
  Region?: string;
  BucketRegion?: string;
  $metadata?: { httpStatusCode?: number };
  $response?: { headers?: Record<string, string> };
  cause?: unknown;
}

const THROTTLED = new Set([
  'SlowDown',
  'Throttling',
  'ThrottlingException',
  'RequestLimitExceeded',
  'RequestThrottled',
  'ServiceUnavailable',
  'TooManyRequestsException',
  'OverLimit',
]);
const EXPIRED = new Set(['ExpiredToken', 'ExpiredTokenException', 'TokenRefreshRequired']);
const WRONG_KEYS = new Set([
  'InvalidAccessKeyId',
  'SignatureDoesNotMatch',
  'InvalidClientTokenId',
  'UnrecognizedClientException',
  'InvalidToken',
  'InvalidSecurity',
]);
const DENIED = new Set([
  'AccessDenied',
  'AccessDeniedException',
  'AllAccessDisabled',
  'Forbidden',
  'AccessDeniedFault',
]);
const NO_QUEUE = new Set(['QueueDoesNotExist', 'AWS.SimpleQueueService.NonExistentQueue']);
const UNREACHABLE =
  /^(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|TimeoutError)$/;
/** What AWS says of a denial: `... is not authorized to perform: kms:Decrypt on resource: arn:...`. */
const NOT_AUTHORIZED = /not authorized to perform:? (\w+:\w+)(?: on (?:the )?resource:? "?([^\s"]+)"?)?/i;

/**
 * What failed, in words that say where and what to do. Nothing of the service's message is repeated but the action and
 * the resource that it names: it may hold more than an operator should read in a log.
 */
function explain(error: unknown, attempt: Attempt): Trouble {
  const failure = error as ServiceError;
  const name =
    failure.name && failure.name !== 'Error' ? failure.name : (failure.Code ?? failure.code ?? 'Error');
  const status = failure.$metadata?.httpStatusCode;
  const { action, arn, where } = attempt;
  if (name === 'CredentialsProviderError' || name === 'ProviderError') return noCredentials(attempt);
  if (EXPIRED.has(name)) {
    return {
      code: 'expired_credentials',
      message: `the credentials have expired: ${action} on ${where} was refused`,
      hint: 'renew them where whochanged gets them from (environment, profile, web identity, instance role); a static AWS_SESSION_TOKEN ends after hours',
    };
  }
  if (WRONG_KEYS.has(name)) {
    return {
      code: 'invalid_credentials',
      message: `${where} doesn't know the access key, or its secret is wrong (${name})`,
      hint: 'check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile; for another server than AWS set --endpoint',
    };
  }
  const region = regionOf(failure);
  if (name === 'PermanentRedirect' || name === 'AuthorizationHeaderMalformed' || (status === 301 && region)) {
    return {
      code: 'wrong_region',
      message: `${where} is in another region${region ? `: ${region}` : ''}`,
      hint: `add the source again with --region ${region ?? 'REGION'}`,
    };
  }
  if (name === 'NoSuchBucket')
    return {
      code: 'no_such_bucket',
      message: `there is no bucket at ${where}`,
      hint: 'check the name, the endpoint and whether it takes --path-style',
    };
  if (NO_QUEUE.has(name))
    return {
      code: 'no_such_queue',
      message: `there is no queue at ${where}`,
      hint: 'check --sqs-queue-url and the region',
    };
  if (name === 'InvalidObjectState')
    return {
      code: 'archived',
      message: `${where} lies in an archive class (Glacier) and can't be read there`,
      hint: 'restore it, then `whochanged source retry`',
    };
  if (DENIED.has(name) || status === 403) return denied(failure, attempt);
  if (/^KMS\./.test(name))
    return {
      code: 'kms',
      message: `${where} can't be decrypted: its KMS key is disabled, deleted or pending (${name})`,
      hint: 'enable the key, then `whochanged source retry`',
    };
  if (THROTTLED.has(name) || status === 429 || status === 503)
    return {
      code: 'throttled',
      message: `${where} asks to slow down (${name})`,
      hint: 'it is tried again, later each time; lower WHOCHANGED_S3_CONCURRENCY if it lasts',
    };
  if (status !== undefined && status >= 500)
    return { code: 'server_error', message: `${where} failed with status ${status}; it is tried again` };
  const reason = UNREACHABLE.test(name)
    ? name
    : (failure.code ?? (failure.cause as ServiceError | undefined)?.code);
  if (reason !== undefined && UNREACHABLE.test(reason))
    return {
      code: 'unreachable',
      message: `can't reach ${where}: ${reason}`,
      hint: 'check the endpoint, DNS and the way there; it is tried again',
    };
  return {
    code: 'failed',
    message: `${action} on ${arn} failed: ${name}${status === undefined ? '' : ` (status ${status})`}`,
  };
}

function denied(failure: ServiceError, { action, arn, where, roleARN }: Attempt): Trouble {
  const [, said, on] = NOT_AUTHORIZED.exec(failure.message ?? '') ?? [];
  if (said === 'sts:AssumeRole' || said === 'sts:AssumeRoleWithWebIdentity') {
    return {
      code: 'assume_role_denied',
      message: `${said} on ${on ?? roleARN ?? 'the role'} is not allowed`,
      hint: "the role's trust policy must name whochanged's own identity, and the external id if it asks for one",
    };
  }
  const kms = said?.startsWith('kms:') || /\bkms\b/i.test(failure.message ?? '');
  const missing = said ?? (kms ? 'kms:Decrypt' : action);
  return {
    code: 'access_denied',
    message: `${missing} on ${on ?? (kms ? `the KMS key of ${where}` : arn)} is not allowed`,
    hint: `allow ${missing} to the identity that whochanged uses${roleARN ? ` (${roleARN})` : ''}${kms ? ', in the key policy too' : ''}`,
  };
}

function noCredentials({ where, roleARN, profile }: Attempt): Trouble {
  return {
    code: 'no_credentials',
    message: `no AWS credentials for ${where}${profile ? ` in the profile ${profile}` : ''}${roleARN ? `, to assume ${roleARN}` : ''}`,
    hint: 'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or run with a role (web identity, ECS, EC2); docs/s3.md lists them',
  };
}

/** S3 tells the right region in a header, or in the error's body. */
function regionOf(failure: ServiceError): string | undefined {
  const header = failure.$response?.headers?.['x-amz-bucket-region'];
  const region =
    header ??
    failure.BucketRegion ??
    failure.Region ??
    /expecting '([a-z0-9-]+)'/.exec(failure.message ?? '')?.[1];
  return region !== undefined && /^[a-z0-9-]{1,40}$/.test(region) ? region : undefined;
}

/** Listing a source, or reading an object of it. */
export function attemptOn(source: S3Source, key?: string): Attempt {
  const { bucket, prefix, region, roleARN, profile } = source;
  return {
    action: key === undefined ? 's3:ListBucket' : 's3:GetObject',
    arn: `${arnPrefix('s3', region)}::${bucket}${key === undefined ? '' : `/${key}`}`,
    where: `s3://${bucket}/${key ?? prefix}`,
    roleARN,
    profile,
  };
}

/** Asking a source's queue. `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME` tells its ARN. */
export function attemptOnQueue(
  source: S3Source & { queueURL: string },
  action: 'sqs:ReceiveMessage' | 'sqs:DeleteMessage',
): Attempt {
  const { queueURL, roleARN, profile } = source;
  const { hostname, pathname } = new URL(queueURL);
  const region = /^sqs\.([a-z0-9-]+)\./.exec(hostname)?.[1] ?? source.region ?? '*';
  const [account = '*', name = '*'] = pathname.split('/').filter(Boolean);
  return {
    action,
    arn: `${arnPrefix('sqs', region)}${region}:${account}:${name}`,
    where: queueURL,
    roleARN,
    profile,
  };
}

/** The partition of ARNs that a region belongs to. */
function arnPrefix(service: 's3' | 'sqs', region: string | null): string {
  const partition = region?.startsWith('cn-')
    ? 'aws-cn'
    : region?.startsWith('us-gov-')
      ? 'aws-us-gov'
      : 'aws';
  return `arn:${partition}:${service}:`;
}
