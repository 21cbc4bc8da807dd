import { compress, init } from '@bokuweb/zstd-wasm';

let ready: Promise<void> | undefined;

/** Before `zstd` is called. The encoder can't be started twice in a process, which several test files share. */
export function zstdReady(): Promise<void> {
  ready ??= init();
  return ready;
}

/** One zstd frame (RFC 8878). */
export function zstd(bytes: Uint8Array): Buffer {
  return Buffer.from(compress(bytes));
}
