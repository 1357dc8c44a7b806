/**
 * What a guest has mapped, kept without any cleverness: a Map of 4 KiB pages. It never reads a table; whoever writes
 * the tables tells it the same thing in its own words.
 *
 * @module
 */

/** One page, and the leaf that it is part of. */
export interface NaivePage {
  readonly target: number;
  readonly access: number;
  /** First page of the leaf and its size. */
  readonly leaf: number;
  readonly leafPages: number;
}

/** A leaf of the guest's tables. */
export interface NaiveLeaf {
  readonly iova: number;
  readonly pages: number;
  readonly target: number;
  readonly access: number;
}

/** Pages by number. */
export class NaiveGuest {
  readonly pages: Map<number, NaivePage> = new Map();

  /** One leaf; what was mapped there before is gone. */
  map(iova: number, pages: number, target: number, access: number): void {
    for (let i = 0; i < pages; i++)
      this.pages.set(iova + i, { target: target + i, access, leaf: iova, leafPages: pages });
  }

  unmap(iova: number, pages: number): void {
    for (let i = 0; i < pages; i++) this.pages.delete(iova + i);
  }

  /** The leaves that allow anything, ascending. */
  leaves(): NaiveLeaf[] {
    return [...this.pages]
      .filter(([page, { leaf, access }]) => page === leaf && access !== 0)
      .map(([iova, { leafPages, target, access }]) => ({ iova, pages: leafPages, target, access }))
      .toSorted((a, b) => a.iova - b.iova);
  }
}
