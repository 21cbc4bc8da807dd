/** A place in S3, or in a server like it, and how it is opened. Credentials come from the process that opens it. */
export interface S3Place {
  bucket: string;
  /** Keys begin with it. '' for the whole bucket. */
  prefix: string;
  region: string | null;
  /** Another server than AWS. */
  endpoint: string | null;
  pathStyle: boolean;
  roleARN: string | null;
  externalID: string | null;
  profile: string | null;
}

const SETTINGS = ['region', 'endpoint', 'pathStyle', 'roleARN', 'externalID', 'profile'] as const;
const BUCKET = /^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$/;

/**
 * Reads `s3://BUCKET/PREFIX/?endpoint=https://minio.example.com&pathStyle=true`; the settings are those of an s3
 * source. A prefix is taken as a folder: it ends with a slash.
 * @throws RangeError saying what is wrong with the text, without repeating what may be a secret
 */
export function parseS3Place(text: string): S3Place {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 's3:') throw new RangeError('expected a URL such as s3://bucket/prefix/');
  if (url.username !== '' || url.password !== '')
    throw new RangeError('it holds credentials; take them out: they are found where whochanged runs');
  if (!BUCKET.test(url.hostname)) throw new RangeError('the bucket has no valid name');
  for (const name of url.searchParams.keys()) {
    if (!(SETTINGS as readonly string[]).includes(name))
      throw new RangeError(
        `there is no setting "${name.slice(0, 40)}"; those there are: ${SETTINGS.join(', ')}`,
      );
  }
  const get = (name: (typeof SETTINGS)[number]) => url.searchParams.get(name);
  const endpoint = get('endpoint');
  if (endpoint !== null && !/^https?:\/\/[^@]+$/.test(endpoint))
    throw new RangeError('endpoint: expected an http or https URL without credentials');
  const pathStyle = get('pathStyle') ?? 'false';
  if (!['true', 'false'].includes(pathStyle)) throw new RangeError('pathStyle: expected true or false');
  const folder = decodeURIComponent(url.pathname).replace(/^\/+|\/+$/g, '');
  return {
    bucket: url.hostname,
    prefix: folder === '' ? '' : `${folder}/`,
    region: get('region'),
    endpoint,
    pathStyle: pathStyle === 'true',
    roleARN: get('roleARN'),
    externalID: get('externalID'),
    profile: get('profile'),
  };
}

/** How people name it: `s3://bucket/prefix/`. */
export function placeText({ bucket, prefix }: S3Place): string {
  return `s3://${bucket}/${prefix}`;
}
