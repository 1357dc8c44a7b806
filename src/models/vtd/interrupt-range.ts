/** The interrupt range in the middle of the addresses that a device uses (VT-d 3.14). @module */
import type { LeafBatch } from '../../iommu/index.ts';
import { type PageRange, overlaps } from '../../memory/index.ts';

/** Pages of the interrupt range 0xfee00000-0xfeefffff (VT-d 3.14): never translated, and never the result of a translation. */
export const INTERRUPT_RANGE: PageRange = { start: 0xfee00, end: 0xfef00 };

/** The leaf of 2 MiB and the leaf of 1 GiB that can cover interrupt pages and others. */
const LARGE_LEAF: PageRange = { start: 0xfee00, end: 0xff000 };
const HUGE_LEAF: PageRange = { start: 0xc0000, end: 0x100000 };

/** Whether a page is in the interrupt range. */
export function isInterrupt(page: number): boolean {
  return page >= INTERRUPT_RANGE.start && page < INTERRUPT_RANGE.end;
}

/** A leaf: pages `iova` to `iova + pages` lie at `target` onward. */
interface Leaf {
  readonly iova: number;
  readonly pages: number;
  readonly target: number;
}

/** As much of `leaf` around `page` as has no target in the interrupt range: an IOTLB must not answer for the rest. */
export function besideInterrupts(leaf: Leaf, page: number): Leaf {
  const shift = leaf.target - leaf.iova;
  let { iova, pages } = leaf;
  while (iova + shift < INTERRUPT_RANGE.end && iova + shift + pages > INTERRUPT_RANGE.start) {
    pages /= 2;
    iova = Math.floor(page / pages) * pages;
  }
  return { iova, pages, target: iova + shift };
}

/**
 * Which translation indexes may have a 1 GiB leaf across the interrupt range. Whoever follows mappings sees two pieces
 * of it, on either side, with a notifier each; an invalidation of any page of the leaf is one of both pieces (VT-d
 * 6.5.2.3), though it may touch neither notifier's range.
 */
export class InterruptSpans {
  readonly #indexes: Set<number> = new Set();

  /** Takes leaves that a walk of `index` came across. */
  note(index: number, batch: LeafBatch): void {
    if (batch.pages < HUGE_LEAF.end - HUGE_LEAF.start) return;
    for (let i = 0; i < batch.length; i++) {
      const iova = batch.iova[i] ?? 0;
      if (iova < HUGE_LEAF.end && iova + batch.pages > HUGE_LEAF.start) this.#indexes.add(index);
    }
  }

  /**
   * What an invalidation of `range` is one of. `look` walks a page of an index, and what it comes across is noted. Noted
   * leaves are forgotten, for the walks that follow note what is still there.
   */
  widen(range: PageRange, indexes: Iterable<number>, look: (index: number, page: number) => void): PageRange {
    if (!overlaps(range, HUGE_LEAF)) return range;
    let wide = overlaps(range, LARGE_LEAF) ? hull(range, LARGE_LEAF) : range;
    for (const index of indexes) {
      look(index, INTERRUPT_RANGE.start);
      if (this.#indexes.delete(index)) wide = hull(wide, HUGE_LEAF);
    }
    return wide;
  }
}

function hull(a: PageRange, b: PageRange): PageRange {
  return { start: Math.min(a.start, b.start), end: Math.max(a.end, b.end) };
}
