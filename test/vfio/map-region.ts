import {
  IommuRegion,
  type LeafVisitor,
  type Mapping,
  type NotifierEvents,
  type WalkBudget,
  type WalkReport,
  withBatch,
} from '../../src/iommu/index.ts';
import { Access, type AddressSpace, type IommuTlbEntry, type PageRange } from '../../src/memory/index.ts';

/** An IOMMU whose tables are a list of leaves: what a test puts in is mapped. */
export class MapRegion extends IommuRegion {
  readonly #leaves: Map<number, Mapping> = new Map();
  /** No leaf ends beyond it; keeps many leaves in ascending order cheap. */
  #end = 0;
  /** Set to have notifiers refused, as a model without caching mode does. */
  refusal: string | undefined;

  constructor(target: AddressSpace, pages: number, options: { readonly budget?: WalkBudget } = {}) {
    super('translated', pages, target, { ...options, iotlb: false });
  }

  /** The leaves, ascending. */
  get leaves(): Mapping[] {
    return [...this.#leaves.values()].sort((a, b) => a.iova - b.iova);
  }

  /** Enters a leaf in place of all that it overlaps, and tells nobody. */
  put(iova: number, pages: number, target: number, access: Access = Access.ReadWrite): void {
    if (iova < this.#end) this.drop(iova, pages);
    this.#end = Math.max(this.#end, iova + pages);
    this.#leaves.set(iova, { iova, pages, target, access });
  }

  /** Removes the leaves that overlap, and tells nobody. */
  drop(iova: number, pages: number): void {
    for (const leaf of this.#leaves.values()) {
      if (leaf.iova < iova + pages && iova < leaf.iova + leaf.pages) this.#leaves.delete(leaf.iova);
    }
  }

  /** `put`, and the invalidation that a guest sends after it. */
  map(iova: number, pages: number, target: number, access: Access = Access.ReadWrite): void {
    this.put(iova, pages, target, access);
    this.invalidate({ start: iova, end: iova + pages });
  }

  /** `drop`, and the invalidation that a guest sends after it. */
  unmap(iova: number, pages: number): void {
    this.drop(iova, pages);
    this.invalidate({ start: iova, end: iova + pages });
  }

  protected override refuses(_events: NotifierEvents, _index: number): string | undefined {
    return this.refusal;
  }

  protected override resolve(page: number): IommuTlbEntry {
    const leaf = this.leaves.find(({ iova, pages }) => iova <= page && page < iova + pages);
    return leaf ?? { iova: page, pages: 1, target: 0, access: Access.None };
  }

  override walk(range: PageRange, _index: number, visit: LeafVisitor, report: WalkReport): void {
    withBatch((batch) => {
      for (const leaf of this.leaves) {
        if (leaf.iova >= range.end || leaf.iova + leaf.pages <= range.start) continue;
        if (report.leaves >= report.budget.leaves) {
          report.cutAt = leaf.iova;
          return;
        }
        report.entries++;
        report.leaves++;
        batch.pages = leaf.pages;
        batch.length = 0;
        batch.push(leaf.iova, leaf.target, leaf.access);
        if (!visit(batch)) return;
      }
    });
  }
}
