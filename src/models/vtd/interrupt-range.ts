/** The interrupt range in the middle of the addresses that a device uses (VT-d 3.14). @module */
import type { PageRange } from '../../memory/index.ts';

/** Pages of the interrupt range 0xfee00000-0xfeefffff (VT-d 3.14): never translated, and never the result of a translation. */
export const INTERRUPT_RANGE: PageRange = { start: 0xfee00, end: 0xfef00 };

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
