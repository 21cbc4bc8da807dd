/** Microseconds from the Unix epoch to 2000-01-01, where Postgres counts from. */
const POSTGRES_EPOCH = 946_684_800_000_000;
const TEXT_OID = 25;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
/** What no UTF-8 holds; two of them where one would make 16 bytes. */
const MARK = Buffer.of(0xff);
const TWO_MARKS = Buffer.of(0xff, 0xff);
/** Up to this length a loop is faster than a call into Node. */
const SHORT_TEXT = 64;

/**
 * Fields in the binary COPY format (PostgreSQL documentation, COPY, "Binary Format"), in a buffer that grows. Binary
 * spares both sides the escaping and parsing of text.
 */
export class CopyFields {
  protected buffer: Buffer;
  length = 0;

  constructor(bytes = 64 * 1024) {
    this.buffer = Buffer.allocUnsafeSlow(bytes);
  }

  /** Bytes as they are: fields that were encoded before. */
  raw(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.buffer.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** What was written so far, in memory of its own. */
  copy(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.buffer.subarray(0, this.length));
  }

  null(): void {
    this.reserve(4);
    this.#int32(-1);
  }

  /** text, and enums by their label */
  text(value: string | undefined | null): void {
    if (value === undefined || value === null) {
      this.null();
      return;
    }
    // 3 bytes are the most that UTF-8 needs for a UTF-16 code unit.
    this.reserve(4 + value.length * 3);
    this.#sized(this.#utf8(value, this.length + 4));
  }

  int4(value: number | undefined): void {
    if (value === undefined) {
      this.null();
      return;
    }
    this.reserve(8);
    this.#int32(4);
    this.#int32(value);
  }

  int2(value: number | undefined): void {
    if (value === undefined) {
      this.null();
      return;
    }
    this.reserve(6);
    this.#int32(2);
    this.length = this.buffer.writeInt16BE(value, this.length);
  }

  int8(value: bigint | number | undefined): void {
    if (value === undefined) {
      this.null();
      return;
    }
    this.reserve(12);
    this.#int32(8);
    if (typeof value === 'bigint') {
      this.length = this.buffer.writeBigInt64BE(value, this.length);
    } else {
      // Exact for every safe integer.
      this.#int32(Math.floor(value / 0x1_0000_0000));
      this.#int32(value);
    }
  }

  bool(value: boolean): void {
    this.reserve(5);
    this.#int32(1);
    this.buffer[this.length++] = value ? 1 : 0;
  }

  bytes(value: Uint8Array | undefined): void {
    if (value === undefined) {
      this.null();
      return;
    }
    this.reserve(4 + value.length);
    this.#int32(value.length);
    this.buffer.set(value, this.length);
    this.length += value.length;
  }

  /** From its canonical text: 8-4-4-4-12 hex digits. */
  uuid(value: string | undefined): void {
    if (value === undefined) {
      this.null();
      return;
    }
    this.reserve(20);
    this.#int32(16);
    const { buffer } = this;
    let at = this.length;
    for (let i = 0; i < 36; i += 2) {
      if (i === 8 || i === 13 || i === 18 || i === 23) i++;
      buffer[at++] = (hexDigit(value.charCodeAt(i)) << 4) | hexDigit(value.charCodeAt(i + 1));
    }
    this.length = at;
  }

  /** bytea as the SQL function `id_bytes` makes it: 16 bytes of a UUID's canonical text, else the text behind 0xff. */
  id(value: string | undefined): void {
    if (value === undefined) {
      this.null();
      return;
    }
    if (UUID.test(value)) {
      this.uuid(value);
      return;
    }
    const text = Buffer.from(value, 'utf8');
    this.bytes(Buffer.concat([text.length === 15 ? TWO_MARKS : MARK, text]));
  }

  /** timestamptz from microseconds since the Unix epoch */
  time(micros: number | undefined): void {
    this.int8(micros === undefined ? undefined : micros - POSTGRES_EPOCH);
  }

  jsonb(value: unknown): void {
    if (value === undefined) {
      this.null();
      return;
    }
    const text = JSON.stringify(value);
    this.reserve(5 + text.length * 3);
    this.buffer[this.length + 4] = 1;
    this.#sized(1 + this.#utf8(text, this.length + 5));
  }

  textArray(values: readonly string[] | undefined): void {
    if (values === undefined) {
      this.null();
      return;
    }
    const start = this.length;
    this.reserve(24);
    this.length += 4;
    this.#int32(values.length === 0 ? 0 : 1);
    this.#int32(0);
    this.#int32(TEXT_OID);
    if (values.length > 0) {
      this.#int32(values.length);
      this.#int32(1);
      for (const value of values) this.text(value);
    }
    this.buffer.writeInt32BE(this.length - start - 4, start);
  }

  protected reserve(bytes: number): void {
    if (this.length + bytes <= this.buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(this.buffer.length * 2, this.length + bytes));
    this.buffer.copy(grown, 0, 0, this.length);
    this.buffer = grown;
  }

  #int32(value: number): void {
    const { buffer } = this;
    const at = this.length;
    buffer[at] = value >> 24;
    buffer[at + 1] = value >> 16;
    buffer[at + 2] = value >> 8;
    buffer[at + 3] = value;
    this.length = at + 4;
  }

  /** Writes the length of what stands behind it already, and passes both. */
  #sized(bytes: number): void {
    this.#int32(bytes);
    this.length += bytes;
  }

  /** Writes text somewhere; returns how many bytes it took. */
  #utf8(text: string, at: number): number {
    const { buffer } = this;
    const { length } = text;
    if (length > SHORT_TEXT) return buffer.write(text, at, 'utf8');
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code >= 0x80) return buffer.write(text, at, 'utf8');
      buffer[at + i] = code;
    }
    return length;
  }
}

function hexDigit(code: number): number {
  return code <= 0x39 ? code - 0x30 : (code | 0x20) - 0x57;
}
