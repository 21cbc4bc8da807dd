import { promisify } from 'node:util';
import { deflateRaw, inflateRaw } from 'node:zlib';
import { BODY_DICTIONARY_1 } from './body-dictionary.js';

/** How `content` holds canonical JSON. Numbers are stored: never renumber. */
export const PLAIN = 0;
/** Raw deflate (RFC 1951) with the preset dictionary of body-dictionary.ts. */
const DEFLATE_1 = 1;
/** Of a body whose content stands in a pack (store/body-packs.ts). */
export const IN_PACK = 2;

/** Below this, deflate's own cost outweighs what it saves. */
const MIN_DEFLATE_BYTES = 120;

export interface EncodedContent {
  encoding: number;
  content: Buffer;
}

const deflate = promisify(deflateRaw) as (plain: Buffer, options: object) => Promise<Buffer>;
const inflate = promisify(inflateRaw) as (content: Buffer, options: object) => Promise<Buffer>;

/** Encodes canonical JSON, of one body or of several one after another, in a thread of Node's pool. */
export async function encodeContent(plain: Buffer): Promise<EncodedContent> {
  if (plain.length < MIN_DEFLATE_BYTES) return { encoding: PLAIN, content: plain };
  // What comes out is small; the default would allocate 16 KB for each.
  const content = await deflate(plain, { level: 6, chunkSize: 4096, dictionary: BODY_DICTIONARY_1 });
  return { encoding: DEFLATE_1, content };
}

/** @throws Error when the content is damaged or of an encoding that this version doesn't know */
export async function decodeContent(encoding: number, content: Buffer): Promise<Buffer> {
  if (encoding === PLAIN) return content;
  // A whole pack at once: each piece more is another turn of the event loop.
  if (encoding === DEFLATE_1)
    return inflate(content, { chunkSize: 64 * 1024, dictionary: BODY_DICTIONARY_1 });
  throw new Error(`the encoding ${encoding} of a body is not known to this version`);
}
