import type { Change } from './answers.ts';
import { get, type Query } from './api.ts';

const POLL_MS = 2000;
const PAGE = 200;

/** The last committed change of each cluster, by its number in it. */
type Ends = Record<string, string>;

/**
 * Follows what is committed from now on, as `whochanged tail -f` does, and hands on what matches. It rests while the tab is
 * hidden, and tries on while the server is away. Returns what ends it.
 */
export function follow(
  filter: Query,
  onchanges: (changes: Change[]) => void,
  ontrouble: (detail: string) => void,
): () => void {
  const stop = new AbortController();
  const clusters = filter.cluster as string[] | undefined;
  let ends: Ends | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const poll = async () => {
    const now = await get<Ends>('/v1/changes/last-seq', {}, stop.signal);
    if (!ends) {
      ends = now;
      return;
    }
    for (const [cluster, end] of Object.entries(now)) {
      if (clusters && !clusters.includes(cluster)) continue;
      while (BigInt(ends[cluster] ?? '0') < BigInt(end)) {
        const question = { ...filter, cluster, after_seq: ends[cluster] ?? '0', limit: PAGE };
        const page = await get<{ items: Change[]; next: string }>('/v1/changes', question, stop.signal);
        if (page.items.length > 0) onchanges(page.items);
        ends[cluster] = page.items.length === PAGE || BigInt(page.next) > BigInt(end) ? page.next : end;
      }
    }
  };
  const loop = async () => {
    try {
      if (!document.hidden) await poll();
      ontrouble('');
    } catch (error) {
      if (stop.signal.aborted) return;
      ontrouble((error as Error).message);
    }
    if (!stop.signal.aborted) timer = setTimeout(loop, POLL_MS);
  };
  void loop();
  return () => {
    stop.abort();
    clearTimeout(timer);
  };
}
