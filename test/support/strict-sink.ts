import type { Incomplete, IommuEvent, IommuNotifier, Mapping } from '../../src/iommu/index.ts';
import { ALL_PAGES, type PageRange } from '../../src/memory/index.ts';

/** A mapping as a sink was told of it. */
export interface HeldMapping extends Mapping {
  readonly ram: boolean;
}

/**
 * A shadow as strict as the strictest host: a map that overlaps and an unmap that does not name one mapping exactly
 * are violations. It keeps its own books and shares nothing with the code under test.
 */
export class StrictSink implements IommuNotifier {
  readonly events = 'map-and-unmap';
  readonly range: PageRange;
  readonly index: number;
  /** Ascending by IOVA. */
  readonly held: HeldMapping[] = [];
  /** What should never have happened. */
  readonly violations: string[] = [];
  /** Everything told, as text. */
  readonly log: string[] = [];
  readonly incompletes: Incomplete[] = [];
  /** Most mappings ever held at once. */
  peak = 0;
  /** Maps that would make it hold more are refused. */
  capacity = Infinity;
  /**
   * Called before a map and after an unmap is taken; may refuse the map by returning false, throw, or call back into
   * the region.
   */
  hook: ((event: IommuEvent) => boolean | void) | undefined;

  constructor(range: PageRange = ALL_PAGES, index = 0) {
    this.range = range;
    this.index = index;
  }

  notify(event: IommuEvent): boolean | void {
    const { op, iova, pages, target, access, ram } = event;
    this.log.push(`${op} ${iova}+${pages}`);
    if (op === 'map' && this.hook?.(event) === false) return false;
    const at = this.#firstEndingAfter(iova);
    const there = this.held[at];
    if (op === 'map') {
      if (this.held.length >= this.capacity) return false;
      if (there !== undefined && there.iova < iova + pages) this.#violate(`map ${iova}+${pages} overlaps`);
      if (iova < this.range.start || iova + pages > this.range.end)
        this.#violate(`map ${iova}+${pages} outside`);
      this.held.splice(at, 0, { iova, pages, target, access, ram });
      this.peak = Math.max(this.peak, this.held.length);
    } else {
      const same =
        there !== undefined &&
        there.iova === iova &&
        there.pages === pages &&
        there.target === target &&
        there.access === access &&
        there.ram === ram;
      if (same) this.held.splice(at, 1);
      else this.#violate(`unmap ${iova}+${pages} names no mapping`);
      this.hook?.(event);
    }
    return true;
  }

  incomplete(why: Incomplete): void {
    this.incompletes.push(why);
  }

  /** What is held, as `iova+pages>target access`, for short expectations. A hole is marked with `!`. */
  get list(): string[] {
    return this.held.map(
      ({ iova, pages, target, access, ram }) =>
        `${iova}+${pages}>${target} ${['none', 'r', 'w', 'rw'][access]}${ram ? '' : '!'}`,
    );
  }

  /** The log since the last call. */
  takeLog(): string[] {
    return this.log.splice(0);
  }

  #violate(what: string): void {
    this.violations.push(what);
  }

  #firstEndingAfter(page: number): number {
    const at = this.held.findIndex((mapping) => mapping.iova + mapping.pages > page);
    return at === -1 ? this.held.length : at;
  }
}
