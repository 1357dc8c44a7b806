/** Leaves across the holes in what a device's tables translate: the interrupt range and the exclusion range. @module */
import type { LeafBatch } from '../../iommu/index.ts';
import { overlaps, type PageRange } from '../../memory/index.ts';

/** Pages of the interrupt address range (AMD-Vi 2.1, special address ranges): what devices write there are interrupt requests, which no table translates. */
export const INTERRUPT_RANGE: PageRange = { start: 0xfee00, end: 0xfef00 };

/**
 * Remembers leaves that lie partly in a hole. Whoever follows mappings has a notifier on either side of a hole and sees
 * the pieces of such a leaf apart; an invalidation of any page of the leaf is one of all its pieces, though it may touch
 * only one notifier's range.
 */
export class HoleSpans {
  readonly #leaves: PageRange[] = [];

  /** Takes leaves that a walk came across. */
  note(batch: LeafBatch, holes: readonly PageRange[]): void {
    const { pages, length } = batch;
    // Holes are whole pages, so that a leaf of one page is inside or outside.
    if (pages === 1 || length === 0) return;
    for (const hole of holes) {
      if (!overlaps(hole, { start: batch.iova[0] ?? 0, end: (batch.iova[length - 1] ?? 0) + pages }))
        continue;
      for (let i = 0; i < length; i++) {
        const start = batch.iova[i] ?? 0;
        if (overlaps(hole, { start, end: start + pages })) this.#add({ start, end: start + pages });
      }
    }
  }

  /** `range` with the leaves noted so far that it touches. They are forgotten, for walks to come note what is still there. */
  widen(range: PageRange): PageRange {
    let { start, end } = range;
    for (const leaf of this.#leaves.splice(0)) {
      if (!overlaps(leaf, range)) {
        this.#add(leaf);
        continue;
      }
      start = Math.min(start, leaf.start);
      end = Math.max(end, leaf.end);
    }
    return { start, end };
  }

  /** Whether a leaf noted meanwhile touches `range` and reaches beyond `wide`. */
  reachesBeyond(wide: PageRange, range: PageRange): boolean {
    return this.#leaves.some(
      (leaf) => overlaps(leaf, range) && (leaf.start < wide.start || leaf.end > wide.end),
    );
  }

  /** Few leaves lie across an edge at a time; more, and they are taken as one. */
  #add(leaf: PageRange): void {
    if (this.#leaves.some(({ start, end }) => start <= leaf.start && end >= leaf.end)) return;
    if (this.#leaves.length < MOST) this.#leaves.push(leaf);
    else {
      const all = [...this.#leaves.splice(0), leaf];
      this.#leaves.push({
        start: Math.min(...all.map(({ start }) => start)),
        end: Math.max(...all.map(({ end }) => end)),
      });
    }
  }
}

const MOST = 8;
