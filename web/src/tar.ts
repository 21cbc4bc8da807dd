const BLOCK = 512;

export interface TarFile {
  /** At most 100 characters. */
  name: string;
  content: string;
}

/** A tar archive (POSIX ustar) of text files, as what `tar xf` takes apart. */
export function tarOf(files: readonly TarFile[]): Blob {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for (const { name, content } of files) {
    const bytes = new TextEncoder().encode(content);
    parts.push(headerOf(name, bytes.length), bytes, new Uint8Array((BLOCK - (bytes.length % BLOCK)) % BLOCK));
  }
  return new Blob([...parts, new Uint8Array(2 * BLOCK)], { type: 'application/x-tar' });
}

/** @throws RangeError for a name that does not fit */
function headerOf(name: string, size: number): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(BLOCK);
  const put = (text: string, at: number) => header.set(new TextEncoder().encode(text), at);
  if (new TextEncoder().encode(name).length > 100) throw new RangeError(`the name ${name} is too long`);
  put(name, 0);
  put('0000644\0', 100);
  put('0000000\0', 108);
  put('0000000\0', 116);
  put(`${size.toString(8).padStart(11, '0')}\0`, 124);
  // The same bundle has the same bytes: no file has a time of its own.
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
