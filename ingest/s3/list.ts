import type { S3Client } from '@aws-sdk/client-s3';
import type { Pool } from 'pg';
import { finishPass, type LeasedScan, recordPage } from '../../store/s3-scans.js';
import type { S3Source } from '../../store/s3-sources.js';
import type { FoundObject } from '../../store/source-objects.js';
import { type DayRange, dayRange, mayHold, nextKey } from './key-dates.js';
import { asking, attemptOn } from './trouble.js';

export interface ListOptions {
  /** Seconds between passes. */
  intervalSeconds: number;
  leaseSeconds: number;
  pageKeys: number;
  signal: AbortSignal;
  /** Called when objects were found that are to be read. */
  found: (objects: number) => void;
}

/** A pass that takes long is made more rarely: listing takes at most this part of the time. */
const MAX_SHARE = 0.05;
/**
 * More than a page takes because of what is in it. A page that takes longer met an outage, of S3 or of Postgres, and that
 * is no reason to look more rarely once it is over.
 */
const MAX_PAGE_SECONDS = 0.5;

/**
 * Goes through one pass of a listing, page by page, and records every page together with the place to go on from. With
 * `full` it looks at all keys; with `recent` it passes over days before the last complete pass and its look-back.
 *
 * @returns whether it came to its end: false when the lease was lost
 * @throws ServiceTrouble
 */
export async function runPass(
  scan: LeasedScan,
  source: S3Source,
  client: S3Client,
  pool: Pool,
  options: ListOptions,
): Promise<boolean> {
  let spentSeconds = 0;
  const wanted = dayRange(scan.since, scan.until);
  const range = scan.pass === 'recent' ? recentRange(scan, wanted) : wanted;
  let after = scan.afterKey ?? '';
  for (;;) {
    options.signal.throwIfAborted();
    const turned = performance.now();
    const page = await listPage(client, source, after, options);
    const last = page.keys.at(-1);
    if (last !== undefined) {
      after = nextKey(last, range);
      const found = page.found.filter((object) => mayHold(object, wanted));
      const recorded = await recordPage(
        pool,
        scan,
        source,
        { found, keys: page.keys.length, afterKey: after },
        options.leaseSeconds,
      );
      if (!recorded) return false;
      if (recorded.added > 0) options.found(recorded.added);
    }
    spentSeconds += Math.min(MAX_PAGE_SECONDS, (performance.now() - turned) / 1000);
    if (!page.more) break;
  }
  await finishPass(pool, scan, Math.max(options.intervalSeconds, spentSeconds / MAX_SHARE));
  return true;
}

/** Late keys are looked for as far back as the look-back reaches, from when the last complete pass began. */
function recentRange(scan: LeasedScan, wanted: DayRange): DayRange {
  const from = Date.parse(scan.listedAt ?? scan.passStartedAt) - scan.lookBackSeconds * 1000;
  const { since } = dayRange(new Date(from).toISOString(), undefined);
  return { since: Math.max(since!, wanted.since ?? since!), until: wanted.until };
}

interface ListedPage {
  /** All keys of the page, in order. */
  keys: string[];
  /** Those of them that are objects with content of their own, not the markers of folders. */
  found: FoundObject[];
  more: boolean;
}

/** A page of keys behind one: ListObjectsV2 gives them in the order of their UTF-8 bytes. */
async function listPage(
  client: S3Client,
  source: S3Source,
  after: string,
  { pageKeys, signal }: ListOptions,
): Promise<ListedPage> {
  const { ListObjectsV2Command } = await import('@aws-sdk/client-s3');
  const request = new ListObjectsV2Command({
    Bucket: source.bucket,
    Prefix: source.prefix,
    MaxKeys: pageKeys,
    // Keys may hold what XML can't.
    EncodingType: 'url',
    ...(after !== '' && { StartAfter: after }),
  });
  const answer = await asking(attemptOn(source), () => client.send(request, { abortSignal: signal }));
  const decode = answer.EncodingType === 'url' ? urlDecoded : (key: string) => key;
  const keys: string[] = [];
  const found: FoundObject[] = [];
  for (const { Key, ETag, Size, LastModified } of answer.Contents ?? []) {
    if (Key === undefined || ETag === undefined) continue;
    const key = decode(Key);
    keys.push(key);
    if ((key.endsWith('/') && !Size) || key.includes('\0')) continue;
    found.push({
      key,
      etag: ETag.replaceAll('"', ''),
      size: Size ?? 0,
      lastModified: (LastModified ?? new Date()).toISOString(),
    });
  }
  return { keys, found, more: answer.IsTruncated ?? false };
}

/** As S3 encodes keys: a blank becomes a plus. */
export function urlDecoded(key: string): string {
  const spaced = key.replaceAll('+', ' ');
  try {
    return decodeURIComponent(spaced);
  } catch {
    // Not UTF-8, or not encoded at all.
    return key;
  }
}
