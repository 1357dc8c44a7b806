import type { PageRange } from '../../memory/index.ts';

/**
 * The smallest aligned power of two of pages that covers `range`, as its binary logarithm; 52 when only everything
 * does. Invalidations of most IOMMUs name pages so.
 */
export function addressMask({ start, end }: PageRange): number {
  let am = 0;
  let first = start;
  let last = end - 1;
  while (first !== last) {
    first = Math.floor(first / 2);
    last = Math.floor(last / 2);
    am++;
  }
  return am;
}
