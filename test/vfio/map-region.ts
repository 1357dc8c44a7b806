import {
  IommuRegion,
  type LeafVisitor,
  type Mapping,
  type NotifierEvents,
  type WalkBudget,
  type WalkFault,
  type WalkReport,
  withBatch,
} from '../../src/iommu/index.ts';
import { Access, type AddressSpace, type IommuTlbEntry, type PageRange } from '../../src/memory/index.ts';

/** An IOMMU whose tables are a list of leaves: what a test puts in is mapped. */
export class MapRegion extends IommuRegion {
  readonly #leaves: Map<number, Mapping> = new Map();
  /** No leaf ends beyond it; keeps many leaves in ascending order cheap. */
  #end = 0;
  /** Faults that every walk meets. */
  readonly faults: WalkFault[] = [];
  /** Set to have notifiers refused, as a model without caching mode does. */
  refusal: string | undefined;

  constructor(target: AddressSpace, pages: number, options: { readonly budget?: WalkBudget } = {}) {
    super('translated', pages, target, { ...options, iotlb: false });
  }

  /** The leaves, ascending. */
  get leaves(): Mapping[] {
    return [...this.#leaves.values()].sort((a, b) => a.iova - b.iova);
  }

  /** Enters a leaf in place of all that it overlaps, and tells nobody. What changed. */
  put(iova: number, pages: number, target: number, access: Access = Access.ReadWrite): PageRange {
    const changed = iova < this.#end ? this.drop(iova, pages) : { start: iova, end: iova + pages };
    this.#end = Math.max(this.#end, iova + pages);
    this.#leaves.set(iova, { iova, pages, target, access });
    return changed;
  }

  /** Removes the leaves that overlap, whole, and tells nobody. What changed, the range itself included. */
  drop(iova: number, pages: number): PageRange {
    let start = iova;
    let end = iova + pages;
    for (const leaf of this.#leaves.values()) {
      if (leaf.iova >= iova + pages || iova >= leaf.iova + leaf.pages) continue;
      this.#leaves.delete(leaf.iova);
      start = Math.min(start, leaf.iova);
      end = Math.max(end, leaf.iova + leaf.pages);
    }
    return { start, end };
  }

  /** `put`, and the invalidation that a guest sends after it. */
  map(iova: number, pages: number, target: number, access: Access = Access.ReadWrite): void {
    this.invalidate(this.put(iova, pages, target, access));
  }

  /** `drop`, and the invalidation that a guest sends after it. */
  unmap(iova: number, pages: number): void {
    this.invalidate(this.drop(iova, pages));
  }

  protected override refuses(_events: NotifierEvents, _index: number): string | undefined {
    return this.refusal;
  }

  protected override resolve(page: number): IommuTlbEntry {
    const leaf = this.leaves.find(({ iova, pages }) => iova <= page && page < iova + pages);
    return leaf ?? { iova: page, pages: 1, target: 0, access: Access.None };
  }

  override walk(range: PageRange, _index: number, visit: LeafVisitor, report: WalkReport): void {
    for (const { iova, pages, fault } of this.faults) report.addFault(iova, pages, fault);
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
