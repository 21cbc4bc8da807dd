import { ParsedValues } from '../core/parsed-values.js';
import { BodyCache } from '../store/body-cache.js';

const BODY_CACHE_BYTES = 8 * 1024 * 1024;

/**
 * Bodies for jobs. Attribution, links, verdicts and alerts look at the same changes soon after one another, so a process
 * gives them one to share: what the first has read, the others have at hand, and it takes the memory of one.
 */
export function openJobBodies(): BodyCache {
  return new BodyCache(new ParsedValues(BODY_CACHE_BYTES));
}
