/** Full scans of a table: the sparse walk, and the loop of 2015 over the mapped range. @module */
import { type LeafBatch, WalkReport } from '../../src/iommu/index.ts';
import { ALL_PAGES, type PageRange } from '../../src/memory/index.ts';
import type { VtdRegion } from '../../src/models/vtd/vtd-region.ts';
import { loopRegion, vtdRegion } from '../guest.ts';
import type { TableImage } from '../table-image.ts';
import type { Variant } from '../variant.ts';

/** The sums over all leaves. In typed arrays, for a field that turns from small integer to double makes code invalid. */
class LeafSums {
  leaves = 0;
  /** Of first pages, targets and accesses. */
  readonly sums: Float64Array = new Float64Array(3);

  clear(): void {
    this.leaves = 0;
    this.sums.fill(0);
  }

  add(batch: LeafBatch): boolean {
    const { iova, target, access, length } = batch;
    let iovaSum = 0;
    let targetSum = 0;
    let accessSum = 0;
    for (let i = 0; i < length; i++) {
      iovaSum += iova[i];
      targetSum += target[i];
      accessSum += access[i];
    }
    this.leaves += length;
    const { sums } = this;
    sums[0] += iovaSum;
    sums[1] += targetSum;
    sums[2] += accessSum;
    return true;
  }
}

function scan(region: VtdRegion, range: PageRange): Variant {
  const sums = new LeafSums();
  const visit = (batch: LeafBatch): boolean => sums.add(batch);
  return {
    run(times) {
      let leaves = 0;
      for (let i = 0; i < times; i++) {
        sums.clear();
        region.walk(range, 0, visit, new WalkReport());
        leaves += sums.leaves;
      }
      return leaves;
    },
    check: () => `${sums.leaves} ${sums.sums.join(' ')}`,
  };
}

/** viommu's walk of everything. */
export function walkScan(image: TableImage): Variant {
  return scan(vtdRegion(image), ALL_PAGES);
}

/** Translating at every page of the mapped range: the best case of the loop, which knows no such range. */
export function loopScan(image: TableImage): Variant {
  return scan(loopRegion(image), { start: image.firstIova, end: image.firstIova + image.leaves });
}
