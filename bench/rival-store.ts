import type { Place, SameQuestion } from './same-questions.js';

/** The questions that others than whochanged can be asked. */
export type RivalQuestion = NonNullable<SameQuestion['rivals']>;

/** Something else that holds the same events. */
export interface RivalStore {
  /** On disk, indexes included. */
  bytes: number;
  /** Where it may be any of many. */
  version?: string;
  ask(question: RivalQuestion, place: Place): Promise<RivalAnswer>;
  /** Lets go of it, and takes it off the disk unless it is to be kept. */
  close(keep: boolean): Promise<void>;
}

export interface RivalAnswer {
  rows: number;
  /** Where it didn't look at all that the question is about: at how many events it did. */
  of?: number;
}

/** The most that an answer holds: what whochanged says at once. */
export const LIMIT = 50;
