import type { Descriptor } from '../descriptor.ts';

/** The descriptor that came with a client's last DMA_MAP, which the next ones may name by a flag: the extension `same_file`. */
export class LastFile {
  #descriptor: Descriptor | undefined;

  /** Undefined when none came yet, or several that were refused. */
  get descriptor(): Descriptor | undefined {
    return this.#descriptor;
  }

  /** A DMA_MAP came with these, accepted or not. They stay the caller's. */
  came(descriptors: readonly Descriptor[]): void {
    if (descriptors.length === 0) return;
    this.forget();
    if (descriptors.length === 1) this.#descriptor = descriptors[0]!.hold();
  }

  /** Lets go of it. */
  forget(): void {
    this.#descriptor?.release();
    this.#descriptor = undefined;
  }
}
