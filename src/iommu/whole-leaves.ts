/**
 * Leaves that reach over the edges of what notifiers follow.
 *
 * A leaf may reach over the edge of a notifier's range into something that no table translates (an interrupt range), and
 * into another notifier's range beyond it; an invalidation of any of its pages is one of the whole leaf.
 *
 * @module
 */
import { hull, overlaps, type PageRange } from '../memory/index.ts';
import type { LeafVisitor } from './leaf-batch.ts';
import type { ReconcileSource } from './reconcile.ts';
import type { Shadow } from './shadow.ts';
import { type WalkBudget, WalkReport } from './walk-report.ts';

/** `wide`, with the leaves of which `shadows` know a part and that `range` touches; `wide` itself when there is no more. */
export function withLeavesOverEdges(
  wide: PageRange,
  range: PageRange,
  shadows: readonly Shadow[],
): PageRange {
  let { start, end } = wide;
  for (const { overEdges } of shadows) {
    for (const leaf of overEdges) {
      if (!overlaps(leaf, range)) continue;
      start = Math.min(start, leaf.start);
      end = Math.max(end, leaf.end);
    }
  }
  return start === wide.start && end === wide.end ? wide : { start, end };
}

/** `range`, which is not empty, with the leaves at its ends where none of `shadows` looks. */
export function withLeavesBetween(
  range: PageRange,
  shadows: readonly Shadow[],
  source: ReconcileSource,
  budget: WalkBudget,
): PageRange {
  let result = range;
  const visit: LeafVisitor = ({ iova, pages }) => {
    result = hull(result, { start: iova[0]!, end: iova[0]! + pages });
    return false;
  };
  const look = (page: number): void => {
    for (const { range: followed } of shadows) if (page >= followed.start && page < followed.end) return;
    for (const index of new Set(shadows.map((shadow) => shadow.index))) {
      source.walk({ start: page, end: page + 1 }, index, visit, new WalkReport(budget), 1);
    }
  };
  look(range.start);
  if (range.end - 1 > range.start) look(range.end - 1);
  return result;
}
