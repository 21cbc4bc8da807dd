import { sha256 } from '../core/canonical.js';
import { decodeContent, type EncodedContent, encodeContent, IN_PACK } from './body-encoding.js';
import type { Database } from './schema.js';

/**
 * As much of bodies as one pack holds, but for a body that is larger. Deflate looks back 32 KiB, so more gains little; and
 * whoever wants one body inflates its whole pack, which takes 50 us.
 */
const PACK_BYTES = 64 * 1024;

/** Packs that are in memory at once, whole. */
const PACKS_AT_ONCE = 8;

/** A body's canonical JSON in UTF-8, with its SHA-256. */
export interface PlainBody {
  digest: Buffer;
  json: Uint8Array;
}

/** Where a body's content stands: in its row, or in its pack from an offset on. */
export interface PlacedBody {
  digest: Buffer;
  size: number;
  encoding: number;
  content: Buffer | undefined;
  packID: number | undefined;
  offset: number | undefined;
}

export interface Pack extends EncodedContent {
  packID: number;
}

/** Bodies as they will be stored: neighbours in one pack, so that what they share is stored once. A lone one needs none. */
export async function packBodies(
  bodies: readonly PlainBody[],
  firstPackID: number,
): Promise<{ placed: PlacedBody[]; packs: Pack[] }> {
  const groups = groupsOf(bodies);
  const contents: EncodedContent[] = [];
  for (let from = 0; from < groups.length; from += PACKS_AT_ONCE) {
    const some = groups.slice(from, from + PACKS_AT_ONCE);
    // Copies: whoever waits for the deflating may give up, and give back the memory that the bodies lie in.
    contents.push(
      ...(await Promise.all(some.map((own) => encodeContent(Buffer.concat(own.map(({ json }) => json)))))),
    );
  }
  const placed: PlacedBody[] = [];
  const packs: Pack[] = [];
  for (const [i, group] of groups.entries()) {
    const alone = group.length === 1;
    const packID = firstPackID + packs.length;
    if (!alone) packs.push({ packID, ...contents[i]! });
    let offset = 0;
    for (const { digest, json } of group) {
      const place = alone
        ? { ...contents[i]!, packID: undefined, offset: undefined }
        : { encoding: IN_PACK, content: undefined, packID, offset };
      placed.push({ digest, size: json.length, ...place });
      offset += json.length;
    }
  }
  return { placed, packs };
}

function groupsOf(bodies: readonly PlainBody[]): PlainBody[][] {
  const groups: PlainBody[][] = [];
  let room = 0;
  for (const body of bodies) {
    if (body.json.length > room || groups.length === 0) {
      groups.push([]);
      room = PACK_BYTES;
    }
    groups.at(-1)!.push(body);
    room -= body.json.length;
  }
  return groups;
}

/** A body as it stands in the database: with its pack's content, or another row of the same pack has that. */
export interface StoredBody extends Omit<Database['bodies'], 'cluster_id'> {
  pack_encoding: number | null;
  pack_content: Buffer | null;
}

/**
 * Rows of StoredBody, of a cluster, where `condition` says so of `bodies`; each pack's content once. One statement, so that
 * nobody takes a pack apart between its rows and its content.
 */
export const storedBodiesSql = (condition: string, cluster = '$1') => `
  select b.digest, b.size, b.encoding, b.content, b.pack_id, b.pack_offset, p.encoding as pack_encoding, p.content as pack_content
    from (select digest, size, encoding, content, pack_id, pack_offset, row_number() over (partition by pack_id) = 1 as first
            from bodies where cluster_id = ${cluster} and ${condition}) b
    left join body_packs p on p.cluster_id = ${cluster} and p.pack_id = b.pack_id and b.first`;

const BY_DIGEST = storedBodiesSql('digest = any($2::bytea[])');

/** Bodies that are asked for at once: each may bring a whole pack. */
const BODIES_AT_ONCE = 500;
/** Sends the statement, by whichever client. */
export type AskForBodies = (
  text: string,
  values: [clusterID: number, digests: Buffer[]],
) => Promise<{ rows: StoredBody[] }>;

/** Stored bodies as openBodies gives them. Digests that the cluster doesn't have are left out. */
export async function readBodies(
  ask: AskForBodies,
  clusterID: number,
  digests: readonly Buffer[],
): Promise<Map<string, string | undefined>> {
  const opened = new Map<string, string | undefined>();
  for (let from = 0; from < digests.length; from += BODIES_AT_ONCE) {
    const { rows } = await ask(BY_DIGEST, [clusterID, digests.slice(from, from + BODIES_AT_ONCE)]);
    for (const [digest, text] of await openBodies(rows)) opened.set(digest, text);
  }
  return opened;
}

/**
 * The canonical JSON of stored bodies by their digests in hex; undefined where the content is not what it was stored as: it
 * no longer has its digest, or can't be read at all. What somebody put in its place is nothing to be told to anyone.
 */
export async function openBodies(rows: readonly StoredBody[]): Promise<Map<string, string | undefined>> {
  const groups = new Map<string | StoredBody, StoredBody[]>();
  for (const row of rows) {
    const key = row.pack_id ?? row;
    const own = groups.get(key);
    if (own) own.push(row);
    else groups.set(key, [row]);
  }
  const opened = new Map<string, string | undefined>();
  const all = [...groups.values()];
  for (let from = 0; from < all.length; from += PACKS_AT_ONCE)
    await Promise.all(all.slice(from, from + PACKS_AT_ONCE).map((own) => openTogether(own, opened)));
  return opened;
}

/** Those of one pack, or one that has none. */
async function openTogether(
  rows: readonly StoredBody[],
  opened: Map<string, string | undefined>,
): Promise<void> {
  const { encoding, content } = rows[0]!;
  const pack = rows.find(({ pack_content }) => pack_content);
  const plain = pack
    ? await readable(pack.pack_encoding!, pack.pack_content!)
    : content && (await readable(encoding, content));
  for (const { digest, size, pack_offset } of rows) {
    const json = pack_offset === null ? plain : plain?.subarray(pack_offset, pack_offset + size);
    const whole = json && sha256(json).equals(digest);
    opened.set(digest.toString('hex'), whole ? json.toString('utf8') : undefined);
  }
}

async function readable(encoding: number, content: Buffer): Promise<Buffer | undefined> {
  try {
    return await decodeContent(encoding, content);
  } catch {
    return undefined;
  }
}
