import { type Note, NoteError, parseNote } from './note.js';

/** What a checkpoint says: the log's name, how many leaves it has, and the root over them (c2sp.org/tlog-checkpoint). */
export interface Checkpoint {
  origin: string;
  size: number;
  root: Buffer;
  /** Further lines, of our own: `time RFC3339`. */
  extensions: string[];
}

/** The text that is signed. */
export function formatCheckpoint({ origin, size, root, extensions }: Checkpoint): string {
  return [origin, String(size), Buffer.from(root).toString('base64'), ...extensions, ''].join('\n');
}

/** @throws NoteError when the text is no checkpoint */
export function parseCheckpointText(text: string): Checkpoint {
  const lines = text.split('\n');
  const [origin, size, root, ...rest] = lines;
  const extensions = rest.slice(0, -1);
  if (!origin || !/^(0|[1-9]\d{0,15})$/.test(size ?? '') || !/^[A-Za-z0-9+/]{43}=$/.test(root ?? ''))
    throw new NoteError('a checkpoint is three lines: origin, size, root in base64');
  if (rest.at(-1) !== '' || extensions.includes('')) throw new NoteError('a checkpoint ends with a newline');
  return { origin, size: Number(size), root: Buffer.from(root!, 'base64'), extensions };
}

/** @throws NoteError */
export function parseCheckpoint(note: string): { checkpoint: Checkpoint; note: Note } {
  const parsed = parseNote(note);
  return { checkpoint: parseCheckpointText(parsed.text), note: parsed };
}
