/**
 * What was used last, for caches: at least the `size` entries that were used last are kept, and never more than twice
 * as many. Two generations, of which the older is dropped when the younger is full: cheaper than an order of all
 * entries, and what is in use outlives the drop, as it wouldn't where a full cache is emptied.
 */
export class RecentMap<K, V> {
  readonly #size: number;
  #young = new Map<K, V>();
  #old = new Map<K, V>();

  constructor(size: number) {
    this.#size = size;
  }

  /** How many entries it holds, at most twice its size; one that was used in between counts twice. */
  get entries(): number {
    return this.#young.size + this.#old.size;
  }

  get(key: K): V | undefined {
    const value = this.#young.get(key);
    if (value !== undefined) return value;
    const before = this.#old.get(key);
    if (before !== undefined) this.set(key, before);
    return before;
  }

  set(key: K, value: V): void {
    if (this.#young.size >= this.#size && !this.#young.has(key)) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, value);
  }

  delete(key: K): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }
}

/** The same for members of a set. */
export class RecentSet<T> {
  readonly #members: RecentMap<T, true>;

  constructor(size: number) {
    this.#members = new RecentMap(size);
  }

  has(member: T): boolean {
    return this.#members.get(member) !== undefined;
  }

  add(member: T): void {
    this.#members.set(member, true);
  }
}
