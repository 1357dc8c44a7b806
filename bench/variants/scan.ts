/** Full scans of a table: the sparse walk, and the loop of 2015 over the mapped range. @module */
import { type LeafBatch, WalkReport } from '../../src/iommu/index.ts';
import { ALL_PAGES, type PageRange } from '../../src/memory/index.ts';
import type { VtdRegion } from '../../src/models/vtd/vtd-region.ts';
import { loopRegion, vtdRegion } from '../guest.ts';
import type { TableImage } from '../table-image.ts';
import type { Variant } from '../variant.ts';

/** The sums over all leaves. */
class LeafSums {
  leaves = 0;
  iova = 0;
  target = 0;
  access = 0;

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
    this.iova += iovaSum;
    this.target += targetSum;
    this.access += accessSum;
    return true;
  }
}

function scan(region: VtdRegion, range: PageRange): Variant {
  let sums = new LeafSums();
  const visit = (batch: LeafBatch): boolean => sums.add(batch);
  return {
    run(times) {
      let leaves = 0;
      for (let i = 0; i < times; i++) {
        sums = new LeafSums();
        region.walk(range, 0, visit, new WalkReport());
        leaves += sums.leaves;
      }
      return leaves;
    },
    check: () => `${sums.leaves} ${sums.iova} ${sums.target} ${sums.access}`,
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
