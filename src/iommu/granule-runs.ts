import type { Mapping } from './leaf-batch.ts';

/**
 * Puts neighbouring leaves together that form one aligned granule, for a sink whose pages are coarser than the
 * guest's: sixteen 4 KiB leaves on one aligned 64 KiB of memory are one 64 KiB mapping. Leaves that do not form one
 * come out as they are. What comes out depends on the leaves alone, granule by granule.
 */
export class GranuleRuns {
  readonly #granule: number;
  readonly #emit: (mapping: Mapping) => void;
  readonly #pending: Mapping[] = [];

  /** `granule` in pages, a power of two; `emit` takes what comes out, ascending. */
  constructor(granule: number, emit: (mapping: Mapping) => void) {
    this.#granule = granule;
    this.#emit = emit;
  }

  /** Takes the next leaf, ascending. */
  push(leaf: Mapping): void {
    const last = this.#pending.at(-1);
    if (last !== undefined && !this.#continues(last, leaf)) this.flush();
    const whole = leaf.iova % this.#granule === 0 && leaf.pages % this.#granule === 0;
    if (whole) {
      this.#emit(leaf);
      return;
    }
    this.#pending.push(leaf);
    const first = this.#pending[0]!;
    if (leaf.iova + leaf.pages - first.iova < this.#granule) return;
    const aligned = first.iova % this.#granule === 0 && first.target % this.#granule === 0;
    const pages = leaf.iova + leaf.pages - first.iova;
    if (aligned && pages === this.#granule) {
      this.#pending.length = 0;
      this.#emit({ iova: first.iova, pages, target: first.target, access: first.access });
    } else {
      this.flush();
    }
  }

  /** Lets out what waits, as it is. */
  flush(): void {
    for (const leaf of this.#pending.splice(0)) this.#emit(leaf);
  }

  #continues(last: Mapping, leaf: Mapping): boolean {
    return (
      last.iova + last.pages === leaf.iova &&
      last.target + last.pages === leaf.target &&
      last.access === leaf.access &&
      leaf.iova % this.#granule !== 0
    );
  }
}
