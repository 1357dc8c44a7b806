import { type RadixTable, type WalkBudget, WalkReport, walkRadix } from '../../src/iommu/index.ts';
import type { PageRange } from '../../src/memory/index.ts';

/** A leaf as a walk handed it out. */
export interface CollectedLeaf {
  readonly iova: number;
  readonly pages: number;
  readonly target: number;
  readonly access: number;
}

/** Walks `range` and keeps every leaf. */
export function collectWalk(
  table: RadixTable,
  range: PageRange,
  budget?: WalkBudget,
): { leaves: CollectedLeaf[]; report: WalkReport; finished: boolean } {
  const leaves: CollectedLeaf[] = [];
  const report = new WalkReport(budget);
  const finished = walkRadix(
    table,
    range,
    (batch) => {
      for (let i = 0; i < batch.length; i++)
        leaves.push({
          iova: batch.iova[i],
          pages: batch.pages,
          target: batch.target[i],
          access: batch.access[i],
        });
      return true;
    },
    report,
  );
  return { leaves, report, finished };
}
