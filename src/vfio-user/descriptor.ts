/**
 * A file descriptor with counted holders, so that one that came in a message can be kept by a mapping, passed on to
 * another peer and closed when nobody needs it any more, exactly once.
 */
export class Descriptor {
  /** The process's number for it; meaningful only while somebody holds it. */
  readonly number: number;
  readonly #close: (number: number) => void;
  #holders = 1;

  /** Held once, by whoever makes it. `close` is called when the last holder has released it; it must not throw. */
  constructor(number: number, close: (number: number) => void) {
    this.number = number;
    this.#close = close;
  }

  /** Whether it is closed: nobody holds it. */
  get closed(): boolean {
    return this.#holders === 0;
  }

  /** One more holder. Throws when it is closed already. */
  hold(): this {
    if (this.#holders === 0) throw new Error(`descriptor ${this.number} is closed`);
    this.#holders++;
    return this;
  }

  /** One holder less. Throws when nobody holds it. */
  release(): void {
    if (this.#holders === 0) throw new Error(`descriptor ${this.number} is closed`);
    if (--this.#holders === 0) this.#close(this.number);
  }
}

/** Releases all of `descriptors`. */
export function releaseAll(descriptors: Iterable<Descriptor>): void {
  for (const descriptor of descriptors) descriptor.release();
}
