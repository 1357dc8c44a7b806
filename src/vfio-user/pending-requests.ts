import type { TaggedReplyTaken } from './command.ts';

/** Room for so many requests at first. */
const INITIAL = 256;
/** In place of the command, where there is no request. */
const NONE = -1;

/**
 * Requests by the identifier under which they were sent. In arrays and not in a map of objects: a replay sends one for
 * each mapping, and objects that live until the answer are what the garbage collector has to copy: it took a seventh of
 * the client's time.
 */
export class PendingRequests {
  #commands: Int32Array = new Int32Array(INITIAL).fill(NONE);
  #tags: Float64Array = new Float64Array(INITIAL);
  /** When each was added, counted. */
  #order: Float64Array = new Float64Array(INITIAL);
  #taken: (TaggedReplyTaken | undefined)[] = new Array<undefined>(INITIAL).fill(undefined);
  #lastId = -1;
  #size = 0;
  #added = 0;

  get size(): number {
    return this.#size;
  }

  /** An identifier (0 to 65535) that no request on its way has; there are at most 32,768 on their way. */
  nextId(): number {
    if (this.#size * 2 >= this.#commands.length) this.#grow();
    const mask = this.#commands.length - 1;
    do this.#lastId = (this.#lastId + 1) & mask;
    while (this.#commands[this.#lastId] !== NONE);
    return this.#lastId;
  }

  /** A request that was sent with an identifier of {@link nextId}; `tag` is handed to `taken` with its answer. */
  add(id: number, command: number, taken: TaggedReplyTaken, tag: number): void {
    this.#commands[id] = command;
    this.#tags[id] = tag;
    this.#order[id] = this.#added++;
    this.#taken[id] = taken;
    this.#size++;
  }

  /** What `id` was added with; meaningful until {@link take} or {@link clear}. */
  tagOf(id: number): number {
    return this.#tags[id]!;
  }

  /** Who takes the answer to the request with this identifier and command, which is then no longer on its way. */
  take(id: number, command: number): TaggedReplyTaken | undefined {
    if (id >= this.#commands.length || this.#commands[id] !== command) return undefined;
    const taken = this.#taken[id];
    this.#commands[id] = NONE;
    this.#taken[id] = undefined;
    this.#size--;
    return taken;
  }

  /** Has everything on its way end without an answer, oldest first. */
  clear(): void {
    const lost = [...this.#taken.keys()]
      .filter((id) => this.#commands[id] !== NONE)
      .toSorted((a, b) => this.#order[a]! - this.#order[b]!)
      .map((id) => ({ taken: this.#taken[id], tag: this.tagOf(id) }));
    this.#commands.fill(NONE);
    this.#taken.fill(undefined);
    this.#size = 0;
    for (const { taken, tag } of lost) taken?.(undefined, tag);
  }

  #grow(): void {
    const length = this.#commands.length * 2;
    const commands = new Int32Array(length).fill(NONE);
    const tags = new Float64Array(length);
    const order = new Float64Array(length);
    commands.set(this.#commands);
    tags.set(this.#tags);
    order.set(this.#order);
    this.#commands = commands;
    this.#tags = tags;
    this.#order = order;
    while (this.#taken.length < length) this.#taken.push(undefined);
  }
}
