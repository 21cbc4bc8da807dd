import { WhochangedError } from '../../core/errors.js';
import { isObject, type ParsedRecord } from './format-reader.js';

const OTHER_BYTES: ReadonlyArray<readonly [magic: string, what: string, hint: string]> = [
  [
    '50415231',
    'a packed Parquet file',
    'give it as it is: Parquet is compressed within, and read from its end',
  ],
  ['1f8b', 'still compressed with gzip', 'decompress it, or give it where gzip is read'],
  ['28b52ffd', 'still compressed with zstd', 'decompress it, or give it where zstd is read'],
  [
    '4f626a01',
    'an Avro file',
    'export it as JSON: Event Hubs Capture can be read only by way of its records',
  ],
];

/** What an object is whose first bytes tell that it is no text. */
export function unreadableBytes(chunk: Buffer): WhochangedError | undefined {
  for (const [magic, what, hint] of OTHER_BYTES) {
    if (chunk.toString('hex', 0, magic.length / 2) === magic)
      return new WhochangedError('invalid_request', `the object is ${what}`, { hint });
  }
  return undefined;
}

/** Says what was seen in an object that is none of the known formats, without quoting any of its values. */
export function unknownFormat(records: readonly ParsedRecord[], formats: readonly string[]): WhochangedError {
  const first = records.find(({ type }) => type === 'json') ?? records[0]!;
  const more = records.length > 1 ? ` (and ${records.length - 1} more like it or unlike)` : '';
  return new WhochangedError(
    'invalid_request',
    `none of the known audit log formats: ${first.place} is ${describe(first)}${more}`,
    { hint: `if it holds audit events, name its format: ${formats.join(', ')}` },
  );
}

function describe({ type, text, value, whole }: ParsedRecord): string {
  if (type === 'text') return `a line of text of ${text.length} characters`;
  if (!isObject(value)) return 'JSON, but no object';
  // Names of fields only, and only such as are no values themselves.
  const names = Object.keys(value).filter((name) => /^[@_]?[A-Za-z][A-Za-z_]{0,29}$/.test(name));
  const shown = names.slice(0, 12).join(', ') || 'none that can be shown';
  return `${whole ? 'a' : 'a broken'} JSON object with the fields ${shown}`;
}
