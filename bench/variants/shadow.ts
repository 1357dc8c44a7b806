/** A registered shadow: nothing changed, one page changed. @module */
import type { IommuEvent, IommuNotifier } from '../../src/iommu/index.ts';
import { ALL_PAGES } from '../../src/memory/index.ts';
import { vtdRegion } from '../guest.ts';
import { Random } from '../random.ts';
import type { TableImage } from '../table-image.ts';
import type { Variant } from '../variant.ts';

/** Takes everything and counts it. */
export class CountingShadow implements IommuNotifier {
  readonly events = 'map-and-unmap';
  readonly range = ALL_PAGES;
  readonly index = 0;
  maps = 0;
  unmaps = 0;
  iova = 0;
  target = 0;
  access = 0;

  notify(event: IommuEvent): boolean {
    if (event.op === 'unmap') {
      this.unmaps++;
      return true;
    }
    this.maps++;
    this.iova += event.iova;
    this.target += event.target;
    this.access += event.access;
    return true;
  }
}

/** The guest invalidates everything and has changed nothing. */
export function unchangedReconcile(image: TableImage): Variant {
  const region = vtdRegion(image);
  const shadow = new CountingShadow();
  region.registerNotifierReplay(shadow, 4096n, false);
  const told = `${shadow.maps} ${shadow.iova} ${shadow.target} ${shadow.access}`;
  return {
    run(times) {
      for (let i = 0; i < times; i++) region.invalidate(ALL_PAGES);
      return times * image.leaves;
    },
    // Were anything told a second time, the sums would show it.
    check: () =>
      `${shadow.maps} ${shadow.iova} ${shadow.target} ${shadow.access}` === told ? told : 'told again',
  };
}

/** The guest unmaps one page and invalidates it, then maps it again and invalidates it. */
export function liveSync(image: TableImage): Variant {
  const region = vtdRegion(image);
  const shadow = new CountingShadow();
  region.registerNotifierReplay(shadow, 4096n, false);
  const random = new Random();
  const bits = Math.log2(image.leaves);
  const words = image.words;
  let changes = 0;
  return {
    run(times) {
      for (let i = 0; i < times; i++) {
        const page = image.firstIova + random.next(bits);
        const range = { start: page, end: page + 1 };
        const at = image.leafWord(page);
        const lo = words[at];
        words[at] = 0;
        region.invalidate(range);
        words[at] = lo;
        region.invalidate(range);
      }
      changes += times;
      return times * 2;
    },
    check: () =>
      shadow.maps - image.leaves === changes && shadow.unmaps === changes
        ? 'each change told once'
        : 'changes missed',
  };
}
