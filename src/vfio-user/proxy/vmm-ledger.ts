import { Ledger } from '../../iommu/index.ts';
import type { VmmMapping } from './mappings.ts';

/** The VMM's side: the mappings that it asked for, in ascending order, none of them overlapping. */
export class VmmLedger {
  readonly #order: Ledger = new Ledger();
  readonly #byIova: Map<number, VmmMapping> = new Map();

  get size(): number {
    return this.#order.size;
  }

  /** Enters a mapping, which overlaps none. */
  insert(mapping: VmmMapping): void {
    this.#order.insert(mapping.iova, mapping.pages, 0, mapping.access);
    this.#byIova.set(mapping.iova, mapping);
  }

  remove(mapping: VmmMapping): void {
    this.#order.remove(mapping.iova, mapping.pages);
    this.#byIova.delete(mapping.iova);
  }

  /** The first mapping that has a page from `start` to `end`, exclusive. */
  first(start: number, end: number): VmmMapping | undefined {
    const cursor = this.#order.cursor(start);
    return cursor.valid && cursor.iova < end ? this.#byIova.get(cursor.iova) : undefined;
  }

  /** Whether an edge of the range lies within a mapping. */
  bisects(start: number, end: number): boolean {
    const first = this.#order.find(start);
    if (first !== undefined && first.iova < start) return true;
    const last = this.#order.find(end - 1);
    return last !== undefined && last.iova + last.pages > end;
  }

  /** The mappings within the range, ascending; they are to be removed or left together. The range bisects none. */
  within(start: number, end: number): VmmMapping[] {
    const found: VmmMapping[] = [];
    for (const cursor = this.#order.cursor(start); cursor.valid && cursor.iova < end; cursor.next()) {
      found.push(this.#byIova.get(cursor.iova) as VmmMapping);
    }
    return found;
  }

  /** Everything, ascending; must not change meanwhile. */
  *mappings(): Iterable<VmmMapping> {
    for (const { iova } of this.#order.mappings()) yield this.#byIova.get(iova) as VmmMapping;
  }
}
