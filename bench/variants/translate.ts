/** Translating one page after the other, in no order. @module */
import { type RadixTable, translateRadix } from '../../src/iommu/index.ts';
import { Access } from '../../src/memory/index.ts';
import { secondStageFormat } from '../../src/models/vtd/paging-format.ts';
import * as spec from '../../src/models/vtd/spec/index.ts';
import { guestMemory, vtdRegion } from '../guest.ts';
import { Random } from '../random.ts';
import type { TableImage } from '../table-image.ts';
import type { Variant } from '../variant.ts';

/** Translations in one time over; the C floor does as many. */
const LOOKUPS = 16384;

function lookups(image: TableImage, translate: (page: number) => number): Variant {
  const bits = Math.log2(image.leaves);
  let targets = 0;
  return {
    run(times) {
      for (let i = 0; i < times; i++) {
        const random = new Random();
        let sum = 0;
        for (let n = 0; n < LOOKUPS; n++) sum += translate(image.firstIova + random.next(bits));
        targets = sum;
      }
      return times * LOOKUPS;
    },
    check: () => String(targets),
  };
}

/** A device's read of a page through its region. */
export function translatePage(image: TableImage, iotlb: boolean): Variant {
  const region = vtdRegion(image, iotlb);
  return lookups(image, (page) => {
    const entry = region.translatePage(page, Access.Read, 0);
    return entry.target + (page - entry.iova);
  });
}

/** The paging entries alone, without the root and context entry before them. */
export function translateTables(image: TableImage): Variant {
  const format = secondStageFormat(spec.BASE_CAPABILITY, 48, image.levels, false);
  const table: RadixTable = {
    format,
    memory: guestMemory(image),
    root: image.topTable,
    levels: image.levels,
    base: 0,
  };
  return lookups(image, (page) => {
    const found = translateRadix(table, page);
    return found.kind === 'leaf' ? found.target + (page - found.iova) : 0;
  });
}
