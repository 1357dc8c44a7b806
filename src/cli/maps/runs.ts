/** Neighbouring leaves as people read them: one line a run, and how many there are of which kind. @module */
import type { Mapping } from '../../iommu/index.ts';

/** Leaves of one permission that continue each other in both address spaces. */
export interface MappingRun {
  readonly iova: number;
  readonly pages: number;
  readonly target: number;
  readonly access: number;
  /** Leaves in it. */
  readonly leaves: number;
}

/** Leaves of one size and permission. */
export interface LeafCount {
  readonly pages: number;
  readonly access: number;
  readonly count: number;
}

/** Takes leaves in ascending order, makes runs of them, keeps the first ones, and counts all. */
export class RunCollector {
  /** Leaves taken. */
  leaves = 0;
  /** Runs found. */
  runs = 0;
  /** Pages in all leaves. */
  pages = 0;
  /** Runs found and kept since this was last emptied. */
  readonly kept: MappingRun[] = [];
  readonly #limit: number;
  readonly #counts: Map<number, { pages: number; access: number; count: number }> = new Map();
  // The run that waits for its next leaf. Fields and not an object: a listing may have millions of runs.
  #iova = 0;
  #target = 0;
  #pages = 0;
  #access = 0;
  #leaves = 0;

  /** @param limit runs that are kept; further ones are only counted */
  constructor(limit: number) {
    this.#limit = limit;
  }

  push(leaf: Mapping): void {
    const { iova, pages, target, access } = leaf;
    this.leaves++;
    this.pages += pages;
    this.#count(pages, access);
    if (
      this.#leaves > 0 &&
      this.#iova + this.#pages === iova &&
      this.#target + this.#pages === target &&
      this.#access === access
    ) {
      this.#pages += pages;
      this.#leaves++;
      return;
    }
    this.finish();
    this.#iova = iova;
    this.#target = target;
    this.#pages = pages;
    this.#access = access;
    this.#leaves = 1;
  }

  /** Ends the run that waits for its next leaf. */
  finish(): void {
    if (this.#leaves === 0) return;
    if (this.runs++ < this.#limit) {
      this.kept.push({
        iova: this.#iova,
        pages: this.#pages,
        target: this.#target,
        access: this.#access,
        leaves: this.#leaves,
      });
    }
    this.#leaves = 0;
  }

  /** In no order. */
  counts(): LeafCount[] {
    return [...this.#counts.values()];
  }

  #count(pages: number, access: number): void {
    const key = pages * 4 + access;
    const known = this.#counts.get(key);
    if (known === undefined) this.#counts.set(key, { pages, access, count: 1 });
    else known.count++;
  }
}
