const MAX_LENGTH = 500;

/** What an attempt failed of, for `source list`. Messages of ours hold no credential and nothing of an answer. */
export function problemOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, MAX_LENGTH);
}
