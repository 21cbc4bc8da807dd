import { type Static, Type } from 'typebox';
import { WhochangedError } from '../core/errors.js';
import type { S3Location } from '../store/s3-sources.js';

/** What stands in a request about a place in S3 or a server like it. Never a credential. */
export const LocationProperties = {
  bucket: Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$' }),
  prefix: Type.Optional(Type.String({ maxLength: 1024, description: 'keys begin with it' })),
  region: Type.Optional(Type.String({ pattern: '^[a-z0-9-]{1,40}$' })),
  endpoint: Type.Optional(
    Type.String({
      maxLength: 500,
      description: 'URL of another server than AWS',
      examples: ['https://minio.example.com'],
    }),
  ),
  pathStyle: Type.Optional(Type.Boolean({ description: 'the bucket in the path, not in the host name' })),
  roleARN: Type.Optional(
    Type.String({
      pattern: '^arn:aws[a-z-]*:iam::\\d{12}:role/[\\w+=,.@/-]{1,512}$',
      description: 'assumed through STS',
    }),
  ),
  externalID: Type.Optional(Type.String({ pattern: '^[\\w+=,.@:/-]{2,1224}$', description: 'for the role' })),
  profile: Type.Optional(
    Type.String({
      pattern: '^[\\w.@-]{1,100}$',
      description: 'of the AWS configuration where whochanged runs',
    }),
  ),
  format: Type.Optional(
    Type.String({ description: 'of the objects; by default it is detected in each', default: 'auto' }),
  ),
};
const LocationBody = Type.Object(LocationProperties);

/**
 * The location that a request names.
 * @throws WhochangedError `invalid_request` naming what is wrong
 */
export function readLocation(
  body: Static<typeof LocationBody>,
  formats: readonly string[],
  queueURL?: string,
): S3Location {
  const { format = 'auto' } = body;
  if (format !== 'auto' && !formats.includes(format))
    throw new WhochangedError('invalid_request', `format: there is no "${format.slice(0, 40)}"`, {
      hint: `one of auto, ${formats.join(', ')}`,
    });
  if (body.externalID !== undefined && body.roleARN === undefined)
    throw new WhochangedError('invalid_request', 'externalID: it goes with a role, and roleARN names none');
  if (body.prefix?.includes('\0')) throw new WhochangedError('invalid_request', 'prefix: it holds a NUL');
  return {
    bucket: body.bucket,
    prefix: body.prefix ?? '',
    region: body.region ?? null,
    endpoint: body.endpoint === undefined ? null : readURL('endpoint', body.endpoint),
    pathStyle: body.pathStyle ?? false,
    roleARN: body.roleARN ?? null,
    externalID: body.externalID ?? null,
    profile: body.profile ?? null,
    format,
    queueURL: queueURL === undefined ? null : readURL('sqsQueueURL', queueURL),
  };
}

/** It is kept in the database, so it must hold no password. */
function readURL(name: string, text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !['https:', 'http:'].includes(url.protocol))
    throw new WhochangedError('invalid_request', `${name}: expected an http or https URL`);
  if (url.username !== '' || url.password !== '')
    throw new WhochangedError('invalid_request', `${name}: it holds credentials`, {
      hint: 'take them out; whochanged finds its credentials where it runs, see docs/s3.md',
    });
  return text;
}

/** A source's name made of where it lies: `s3://audit-logs/prod/` is `audit-logs-prod`. */
export function nameOfLocation({ bucket, prefix }: { bucket: string; prefix: string }): string {
  const name = `${bucket}-${prefix}`.toLowerCase().replace(/[^a-z0-9.-]+/g, '-');
  return name.slice(0, 63).replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, '');
}
