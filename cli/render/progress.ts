import type { SingleBar } from 'cli-progress';
import { bars } from '../on-demand.js';
import { duration } from './text.js';

/** Where nobody watches, a line is written so often. */
const LINE_MS = 10_000;
/** The rate is that of the last so many milliseconds: a start or a pause shouldn't count for ever. */
const RATE_WINDOW_MS = 15_000;

export interface Step {
  /** Bytes. */
  done: number;
  /** Undefined while it isn't known. */
  total: number | undefined;
  note?: string;
}

/** Progress on stderr: a bar on a terminal, a line now and then elsewhere, each with rate and time to go. */
export class Progress {
  readonly #label: string;
  readonly #out: NodeJS.WriteStream;
  readonly #samples: Array<{ at: number; done: number }> = [];
  #bar: SingleBar | undefined;
  #linedAt: number;
  #last: Step = { done: 0, total: undefined };

  constructor(label: string, out: NodeJS.WriteStream = process.stderr) {
    this.#label = label;
    this.#out = out;
    this.#linedAt = Date.now();
    if (!out.isTTY) return;
    const { SingleBar } = bars();
    this.#bar = new SingleBar({
      stream: out,
      format: `${label} [{bar}] {percentage}% {text}`,
      barsize: 24,
      hideCursor: true,
      clearOnComplete: false,
      linewrap: false,
    });
    this.#bar.start(100, 0, { text: '' });
  }

  update(step: Step): void {
    const now = Date.now();
    this.#last = step;
    this.#samples.push({ at: now, done: step.done });
    while (this.#samples.length > 2 && now - this.#samples[0]!.at > RATE_WINDOW_MS) this.#samples.shift();
    if (this.#bar) {
      this.#bar.update(Math.floor(percentOf(step) ?? 0), { text: this.#text() });
    } else if (now - this.#linedAt > LINE_MS) {
      this.#linedAt = now;
      this.#line();
    }
  }

  /** Ends it, with a last line that stays. */
  stop(): void {
    this.#bar?.stop();
    if (!this.#bar) this.#line();
  }

  #line(): void {
    const percent = percentOf(this.#last);
    this.#out.write(
      `${this.#label}: ${percent === undefined ? '' : `${Math.floor(percent)}% `}${this.#text()}\n`,
    );
  }

  #text(): string {
    const { done, total, note } = this.#last;
    const rate = this.#rate();
    const amount = total === undefined ? formatBytes(done) : `${formatBytes(done)} of ${formatBytes(total)}`;
    const parts = [amount, `${formatBytes(rate)}/s`];
    if (total !== undefined && rate > 0 && done < total) parts.push(`ETA ${duration((total - done) / rate)}`);
    if (note) parts.push(note);
    return parts.join(', ');
  }

  /** Bytes a second. */
  #rate(): number {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (!first || !last || last.at === first.at) return 0;
    return ((last.done - first.done) * 1000) / (last.at - first.at);
  }
}

function percentOf({ done, total }: Step): number | undefined {
  if (total === undefined) return undefined;
  return total === 0 ? 100 : Math.min(100, (done / total) * 100);
}

/** In powers of 1000, as network rates are told. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}
