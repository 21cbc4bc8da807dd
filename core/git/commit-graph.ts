/**
 * Who descends from whom among a repository's commits, in memory: tens of thousands of questions about ranges take no
 * process of git's. Built from what was indexed, and added to as more is.
 */
export class CommitGraph {
  readonly #parents = new Map<string, readonly string[]>();
  readonly #generations = new Map<string, number>();

  get size(): number {
    return this.#parents.size;
  }

  has(sha: string): boolean {
    return this.#parents.has(sha);
  }

  add(sha: string, parents: readonly string[]): void {
    this.#parents.set(sha, parents);
  }

  /** Whether `ancestor` is `sha` itself or among what it was made from. False where either is unknown. */
  isAncestor(ancestor: string, sha: string): boolean {
    if (!this.has(ancestor) || !this.has(sha)) return false;
    if (ancestor === sha) return true;
    const floor = this.#generation(ancestor);
    const seen = new Set([sha]);
    const open = [sha];
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      for (const parent of this.#parents.get(at) ?? []) {
        if (parent === ancestor) return true;
        if (seen.has(parent) || !this.has(parent) || this.#generation(parent) <= floor) continue;
        seen.add(parent);
        open.push(parent);
      }
    }
    return false;
  }

  /**
   * The commits in (previous, sha]: those that lead to `sha` and not to `previous`, as `git rev-list previous..sha`,
   * newest first. Empty where `previous` is a descendant: that is a way back.
   * @returns undefined where a commit on the way is not in the graph, so that the range isn't known whole
   */
  range(previous: string, sha: string): string[] | undefined {
    if (!this.has(previous) || !this.has(sha)) return undefined;
    // Both sides are walked from the youngest generation down; what is reached from `previous` is left out.
    const queue = new GenerationQueue();
    const excluded = new Set([previous]);
    const included = new Set([sha]);
    queue.push(previous, this.#generation(previous));
    if (sha !== previous) queue.push(sha, this.#generation(sha));
    const range: string[] = [];
    let wanted = sha === previous ? 0 : 1;
    while (wanted > 0) {
      const at = queue.pop();
      if (at === undefined) break;
      const leaving = excluded.has(at);
      if (included.has(at)) wanted--;
      if (!leaving) range.push(at);
      for (const parent of this.#parents.get(at)!) {
        if (!this.has(parent)) {
          if (leaving) continue;
          return undefined;
        }
        const side = leaving ? excluded : included;
        if (side.has(parent)) continue;
        const queued = excluded.has(parent) || included.has(parent);
        side.add(parent);
        if (!leaving) wanted++;
        if (!queued) queue.push(parent, this.#generation(parent));
      }
    }
    return range;
  }

  /** What a branch was, newest first: from its tip by first parents, at most so many. */
  mainline(tip: string, most: number): string[] {
    const shas: string[] = [];
    for (let at: string | undefined = tip; at !== undefined && this.has(at) && shas.length < most; ) {
      shas.push(at);
      at = this.#parents.get(at)![0];
    }
    return shas;
  }

  /**
   * The best common ancestors of two commits, as `git merge-base --all`: those that are no ancestor of another. None
   * where the histories have nothing in common.
   * @returns undefined where a commit on the way is not in the graph
   */
  mergeBases(a: string, b: string): string[] | undefined {
    if (!this.has(a) || !this.has(b)) return undefined;
    // From the youngest generation down, so that all which lead to a commit come before it.
    const marks = new Map<string, number>();
    const queue = new GenerationQueue();
    let open = 0;
    const mark = (sha: string, bits: number) => {
      const known = marks.get(sha);
      if (known === undefined) queue.push(sha, this.#generation(sha));
      const next = (known ?? 0) | bits;
      open += Number((next & BELOW) === 0) - Number(known !== undefined && (known & BELOW) === 0);
      marks.set(sha, next);
    };
    mark(a, OURS);
    mark(b, THEIRS);
    const bases: string[] = [];
    // What is left once only ancestors of bases are open holds none.
    for (let at = queue.pop(); at !== undefined && open > 0; at = queue.pop()) {
      const bits = marks.get(at)!;
      if ((bits & BELOW) === 0) open--;
      const isBase = bits === (OURS | THEIRS);
      if (isBase) bases.push(at);
      for (const parent of this.#parents.get(at)!) {
        if (this.has(parent)) mark(parent, isBase ? bits | BELOW : bits);
        else if ((bits & BELOW) === 0 && !isBase) return undefined;
      }
    }
    return bases;
  }

  /** One more than the longest way to a commit without known parents. */
  #generation(sha: string): number {
    const known = this.#generations.get(sha);
    if (known !== undefined) return known;
    const open = [sha];
    for (let at = open.at(-1); at !== undefined; at = open.at(-1)) {
      let generation = 1;
      let ready = true;
      for (const parent of this.#parents.get(at) ?? []) {
        if (!this.has(parent)) continue;
        const above = this.#generations.get(parent);
        if (above === undefined) {
          open.push(parent);
          ready = false;
        } else if (above >= generation) generation = above + 1;
      }
      if (!ready) continue;
      this.#generations.set(at, generation);
      open.pop();
    }
    return this.#generations.get(sha)!;
  }
}

/** From which side a commit was reached, and whether by way of a base. */
const OURS = 1;
const THEIRS = 2;
const BELOW = 4;

/** Commits by generation, the highest first: a commit comes out before all it was made from. */
class GenerationQueue {
  readonly #heap: Array<{ sha: string; generation: number }> = [];

  push(sha: string, generation: number): void {
    const heap = this.#heap;
    let at = heap.push({ sha, generation }) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (heap[above]!.generation >= heap[at]!.generation) break;
      [heap[above], heap[at]] = [heap[at]!, heap[above]!];
      at = above;
    }
  }

  pop(): string | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top?.sha;
    heap[0] = last;
    for (let at = 0; ; ) {
      const left = 2 * at + 1;
      let largest = at;
      for (const below of [left, left + 1])
        if (below < heap.length && heap[below]!.generation > heap[largest]!.generation) largest = below;
      if (largest === at) return top.sha;
      [heap[at], heap[largest]] = [heap[largest]!, heap[at]!];
      at = largest;
    }
  }
}
