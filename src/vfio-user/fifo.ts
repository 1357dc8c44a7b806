/** A queue from which the first is taken without moving the rest each time: it may hold tens of thousands. */
export class Fifo<T> {
  #items: T[] = [];
  /** Items before it have been taken. */
  #first = 0;

  get length(): number {
    return this.#items.length - this.#first;
  }

  /** Appends an item. */
  push(item: T): void {
    this.#items.push(item);
  }

  /** Takes the first item; undefined when there is none. */
  shift(): T | undefined {
    if (this.#first === this.#items.length) return undefined;
    const item = this.#items[this.#first++];
    if (this.#first * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#first);
      this.#first = 0;
    }
    return item;
  }

  /** What is there, first to last. */
  toArray(): T[] {
    return this.#items.slice(this.#first);
  }

  /** Takes everything, first to last. */
  clear(): T[] {
    const items = this.toArray();
    this.#items = [];
    this.#first = 0;
    return items;
  }
}
