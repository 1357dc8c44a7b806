/** One mapping in a vast space: the replay, and slices of the loop of 2015 to extrapolate from. @module */
import { IommuRegion, WalkReport } from '../../src/iommu/index.ts';
import { Access, type IommuTlbEntry, type PageRange, PAGES_END } from '../../src/memory/index.ts';
import { guestMemory, loopRegion, vtdRegion } from '../guest.ts';
import { DATA_START, type TableImage } from '../table-image.ts';
import type { Variant } from '../variant.ts';
import { CountingShadow } from './shadow.ts';

/** Granules in a slice. */
const SLICE = 4096;

/** Registering with replay, and unregistering. */
export function replayOne(image: TableImage): Variant {
  const region = vtdRegion(image);
  let entries = 0;
  let mappings = 0;
  return {
    run(times) {
      for (let i = 0; i < times; i++) {
        const shadow = new CountingShadow();
        const report = region.registerNotifierReplay(shadow, 4096n, false);
        entries = report.walk.entries;
        mappings = shadow.maps;
        region.unregisterNotifier(shadow);
      }
      return times;
    },
    check: () => `${mappings} mapping`,
    facts: () => ({ entries }),
  };
}

/** The loop over pages that the tables cover and do not map. */
export function sliceOfLoop(image: TableImage): Variant {
  return slice(loopRegion(image), { start: 2 ** 30, end: 2 ** 30 + SLICE });
}

/** The loop over pages beyond what the tables cover. */
export function sliceBeyondWidth(image: TableImage): Variant {
  return slice(loopRegion(image), { start: PAGES_END - SLICE, end: PAGES_END });
}

/** The walk that a region without tables gets. */
export function sliceOfDefaultWalk(image: TableImage): Variant {
  const region = new TablelessRegion('tableless', PAGES_END, guestMemory(image));
  return slice(region, { start: 2 ** 30, end: 2 ** 30 + SLICE });
}

class TablelessRegion extends IommuRegion {
  protected override resolve(page: number): IommuTlbEntry {
    if (page === DATA_START) return { iova: page, pages: 1, target: DATA_START, access: Access.ReadWrite };
    return { iova: page, pages: 1, target: 0, access: Access.None };
  }
}

function slice(region: IommuRegion, range: PageRange): Variant {
  let leaves = 0;
  const visit = (): boolean => {
    leaves++;
    return true;
  };
  return {
    run(times) {
      for (let i = 0; i < times; i++) region.walk(range, 0, visit, new WalkReport(), 1);
      return times * SLICE;
    },
    check: () => `${leaves} mappings in the slice`,
  };
}
