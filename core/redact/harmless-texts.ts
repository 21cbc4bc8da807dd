import { RecentSet } from '../recent.js';

/** Texts found to hold no secret. What events say repeats (users, agents, reasons, images), and reading it is slow. */
export interface HarmlessTexts {
  has(text: string): boolean;
  add(text: string): void;
}

const REMEMBERED_TEXTS = 5000;
const REMEMBERED_LENGTH = 256;

/** Remembers those that were asked for last, in memory only; long ones it doesn't. */
export function rememberHarmlessTexts(): HarmlessTexts {
  const texts = new RecentSet<string>(REMEMBERED_TEXTS);
  return {
    has: (text) => text.length <= REMEMBERED_LENGTH && texts.has(text),
    add: (text) => {
      if (text.length <= REMEMBERED_LENGTH) texts.add(text);
    },
  };
}
