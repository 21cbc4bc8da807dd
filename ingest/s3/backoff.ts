const MAX_SECONDS = 3600;

/**
 * Seconds until the next attempt after so many that failed in a row: doubling up to an hour, with jitter of half of it,
 * so that many objects that failed together don't come back together.
 */
export function backoffSeconds(failures: number, firstSeconds = 2): number {
  const full = Math.min(MAX_SECONDS, firstSeconds * 2 ** Math.min(Math.max(failures - 1, 0), 20));
  return full * (0.5 + Math.random() / 2);
}
