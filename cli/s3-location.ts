import type { Command } from 'commander';
import { CliError, EXIT } from './exit.js';

export interface LocationFlags {
  format?: string;
  region?: string;
  endpoint?: string;
  pathStyle?: boolean;
  roleArn?: string;
  externalId?: string;
  profile?: string;
}

/** How a bucket is opened. Credentials are found where whochanged runs, and never given here. */
export function locationOptions(command: Command): Command {
  return command
    .option('--format <format>', 'of the objects (default: detected in each)')
    .option('--region <region>', 'of the bucket')
    .option('--endpoint <url>', 'another server than AWS: MinIO, Ceph, ...')
    .option('--path-style', 'the bucket in the path, as most of those want it')
    .option('--role-arn <arn>', 'a role to assume')
    .option('--external-id <id>', 'for the role')
    .option('--profile <profile>', 'of the AWS configuration where whochanged runs');
}

/** What the flags say, in the API's words. */
export function locationBody(url: string, flags: LocationFlags): Record<string, unknown> {
  const { bucket, prefix } = parseS3URL(url);
  return {
    bucket,
    prefix,
    format: flags.format,
    region: flags.region,
    endpoint: flags.endpoint,
    pathStyle: flags.pathStyle,
    roleARN: flags.roleArn,
    externalID: flags.externalId,
    profile: flags.profile,
  };
}

/** A key may hold what a URL can't, so everything behind the bucket is the prefix as it stands. */
function parseS3URL(url: string): { bucket: string; prefix: string } {
  const match = /^s3:\/\/([^/]+)(?:\/(.*))?$/s.exec(url);
  if (!match) throw new CliError(EXIT.usage, `${url}: no bucket`, 'write it like s3://BUCKET/PREFIX');
  return { bucket: match[1]!, prefix: match[2] ?? '' };
}

const SECONDS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/** A length of time in seconds, from `30m`, `24h`, `7d`. */
export function secondsOption(name: string): (value: string) => number {
  return (value) => {
    const match = /^(\d{1,6})([smhdw])$/.exec(value);
    if (!match)
      throw new CliError(EXIT.usage, `${name} ${value}: no duration`, 'write it like 30m, 24h or 7d');
    return Number(match[1]) * SECONDS[match[2]!]!;
  };
}
