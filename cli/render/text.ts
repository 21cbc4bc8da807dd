/** What a terminal would act on instead of showing; data must never steer the reader's terminal. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are the point
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

export function safe(text: string): string {
  return text.replace(CONTROL, (char) =>
    char === '\n' || char === '\t' ? ' ' : `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

let segmenter: Intl.Segmenter | undefined;

function segmentsOf(text: string): Intl.Segments {
  // Made when it is needed: that takes a fifth of the time in which a command starts.
  segmenter ??= new Intl.Segmenter(undefined, { granularity: 'grapheme' });
  return segmenter.segment(text);
}

const WIDE =
  /\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/u;

/** Columns that a text takes on a terminal. */
export function widthOf(text: string): number {
  // Plain ASCII needs no segmenting.
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  let width = 0;
  for (const { segment } of segmentsOf(text)) width += WIDE.test(segment) ? 2 : 1;
  return width;
}

/** A text cut to a width, with an ellipsis where something is missing. */
export function clip(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  let result = '';
  let used = 0;
  for (const { segment } of segmentsOf(text)) {
    const next = widthOf(segment);
    if (used + next > width - 1) break;
    result += segment;
    used += next;
  }
  return `${result}…`;
}

/** Where a line may end: after a blank, else after what joins the parts of a name. */
const AFTER_NAME_PART = /[/,;@=-]/;

/** A text in lines of a width, at most so many; an ellipsis ends the last when something is missing. */
export function wrap(text: string, width: number, mostLines: number): string[] {
  const lines: string[] = [];
  let rest = text;
  while (lines.length < mostLines - 1 && widthOf(rest) > width) {
    const end = lineEnd(rest, width);
    lines.push(rest.slice(0, end).trimEnd());
    rest = rest.slice(end).trimStart();
  }
  return [...lines, clip(rest, width)];
}

function lineEnd(text: string, width: number): number {
  let used = 0;
  let end = 0;
  let blank = 0;
  let part = 0;
  for (const { segment } of segmentsOf(text)) {
    used += widthOf(segment);
    // A blank may hang over the edge.
    if (segment === ' ' && used - 1 <= width) blank = end + 1;
    if (used > width) break;
    end += segment.length;
    if (AFTER_NAME_PART.test(segment)) part = end;
  }
  if (blank * 2 > end) return blank;
  return part * 2 > end ? part : Math.max(end, 1);
}

export function pad(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - widthOf(text)));
}

/** How long ago, as kubectl writes ages: 45s, 12m, 3h, 5d. */
export function age(at: string, now: number): string {
  const seconds = Math.max(0, Math.round((now - Date.parse(at)) / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** A length of time, as short as an age. */
export function duration(seconds: number): string {
  return seconds < 10
    ? `${Math.max(0, seconds).toFixed(1)}s`
    : age(new Date(0).toISOString(), seconds * 1000);
}

/** A time to the second, local unless UTC is asked for. */
export function clock(at: string, utc: boolean): string {
  const date = new Date(at);
  if (utc) return at.slice(0, 19).replace('T', ' ');
  const two = (value: number) => String(value).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}
