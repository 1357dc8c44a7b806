import type { Descriptor } from '../descriptor.ts';

/** The interrupts of one type (INTx, MSI, ...): an eventfd for each that a client has wired, masks and pending bits. */
export class IrqType {
  /** Interrupts of the type. */
  readonly count: number;
  readonly masked: Uint8Array;
  readonly pending: Uint8Array;
  readonly #eventfds: (Descriptor | undefined)[];
  #armed = 0;

  constructor(count: number) {
    this.count = count;
    this.masked = new Uint8Array(count);
    this.pending = new Uint8Array(count);
    this.#eventfds = new Array<Descriptor | undefined>(count).fill(undefined);
  }

  /** How many are wired to an eventfd. */
  get armed(): number {
    return this.#armed;
  }

  /** The eventfd of an interrupt, 0 to `count`, exclusive; it stays this object's. */
  eventfd(number: number): Descriptor | undefined {
    return this.#eventfds[number];
  }

  /** Wires an interrupt to an eventfd, which is this object's from now on; the one before is released. */
  arm(number: number, eventfd: Descriptor): void {
    if (this.#eventfds[number] === undefined) this.#armed++;
    else this.#eventfds[number].release();
    this.#eventfds[number] = eventfd;
  }

  /** Releases the eventfds of `count` interrupts from `start` on; they are unmasked, and what was pending is forgotten. */
  disarm(start = 0, count: number = this.count): void {
    for (let i = start; i < start + count; i++) {
      this.masked[i] = 0;
      this.pending[i] = 0;
      const eventfd = this.#eventfds[i];
      if (eventfd === undefined) continue;
      this.#eventfds[i] = undefined;
      this.#armed--;
      eventfd.release();
    }
  }
}
