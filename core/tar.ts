const BLOCK = 512;

/** Of memory of their own, as a Blob takes them. */
type Bytes = Uint8Array<ArrayBuffer>;

/** What ends an archive: two empty blocks. */
export const TAR_END = new Uint8Array(2 * BLOCK);

/**
 * A text file in a tar archive (POSIX ustar): its header, its bytes, and what fills its last block. The archive is the
 * files one after the other, then `TAR_END`; `tar xf` takes it apart. No file has a time of its own, so the same files
 * have the same bytes.
 * @throws RangeError for a name of more than 100 bytes
 */
export function tarFile(name: string, content: string): [header: Bytes, bytes: Bytes, fill: Bytes] {
  const bytes = new TextEncoder().encode(content);
  return [headerOf(name, bytes.length), bytes, new Uint8Array((BLOCK - (bytes.length % BLOCK)) % BLOCK)];
}

function headerOf(name: string, size: number): Bytes {
  const header = new Uint8Array(BLOCK);
  const put = (text: string, at: number) => header.set(new TextEncoder().encode(text), at);
  if (new TextEncoder().encode(name).length > 100) throw new RangeError(`the name ${name} is too long`);
  put(name, 0);
  put('0000644\0', 100);
  put('0000000\0', 108);
  put('0000000\0', 116);
  put(`${size.toString(8).padStart(11, '0')}\0`, 124);
  put('00000000000\0', 136);
  // The checksum is computed as if its own field were blanks.
  put('        ', 148);
  put('0', 156);
  put('ustar\0', 257);
  put('00', 263);
  const sum = header.reduce((total, byte) => total + byte, 0);
  put(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}
