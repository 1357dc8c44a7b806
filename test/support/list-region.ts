import { IommuRegion, type WalkBudget } from '../../src/iommu/index.ts';
import {
  Access,
  type AddressSpace,
  type IommuTlbEntry,
  type TranslationFault,
} from '../../src/memory/index.ts';

/** An IOMMU without tables: entries in a list, walked by the default walk. */
export class ListRegion extends IommuRegion {
  /** Entries; one with a fault is one. */
  readonly entries: IommuTlbEntry[] = [];
  /** Pages that were translated, in order. */
  readonly asked: number[] = [];

  constructor(pages: number, target: AddressSpace, budget?: WalkBudget) {
    super('list-iommu', pages, target, budget === undefined ? {} : { budget });
  }

  map(iova: number, pages: number, target: number, access: Access = Access.ReadWrite): void {
    this.entries.push({ iova, pages, target, access });
  }

  faulty(iova: number, fault: TranslationFault): void {
    this.entries.push({ iova, pages: 1, target: 0, access: Access.None, fault });
  }

  protected override resolve(page: number): IommuTlbEntry {
    this.asked.push(page);
    const found = this.entries.find(({ iova, pages }) => page >= iova && page < iova + pages);
    return found ?? { iova: page, pages: 1, target: 0, access: Access.None };
  }
}
