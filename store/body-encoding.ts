import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { sha256 } from '../core/canonical.js';
import { BODY_DICTIONARY_1 } from './body-dictionary.js';

/** How `bodies.content` holds a body's canonical JSON. Numbers are stored: never renumber. */
const PLAIN = 0;
/** Raw deflate (RFC 1951) with the preset dictionary of body-dictionary.ts. */
const DEFLATE_1 = 1;

/** Below this, deflate's own cost outweighs what it saves. */
const MIN_DEFLATE_BYTES = 120;

export interface EncodedBody {
  encoding: number;
  content: Buffer;
}

export function encodeBody(plain: Buffer): EncodedBody {
  if (plain.length < MIN_DEFLATE_BYTES) return { encoding: PLAIN, content: plain };
  // Small windows and tables: bodies are a few KB, and setting up large ones costs more than the compression.
  const windowBits = plain.length > 8192 ? 15 : 14;
  // Most come out smaller than this; the default would allocate 16 KB for each.
  const content = deflateRawSync(plain, {
    level: 3,
    memLevel: 6,
    windowBits,
    chunkSize: 1024,
    dictionary: BODY_DICTIONARY_1,
  });
  return { encoding: DEFLATE_1, content };
}

/** @throws Error when the content is damaged or of an encoding that this version doesn't know */
export function decodeBody(encoding: number, content: Buffer): string {
  if (encoding === PLAIN) return content.toString('utf8');
  if (encoding === DEFLATE_1)
    return inflateRawSync(content, { dictionary: BODY_DICTIONARY_1 }).toString('utf8');
  throw new Error(`bodies.encoding ${encoding} is not known to this version`);
}

/** A body as it stands in the database. */
export interface StoredBody {
  digest: Buffer;
  encoding: number;
  content: Buffer;
}

/**
 * The canonical JSON of a stored body; undefined where its content is not what it was stored as: it no longer has its
 * digest, or can't be read at all. What somebody put in its place is nothing to be told to anyone.
 */
export function openBody({ digest, encoding, content }: StoredBody): string | undefined {
  let text: string;
  try {
    text = decodeBody(encoding, content);
  } catch {
    return undefined;
  }
  return sha256(text).equals(digest) ? text : undefined;
}
