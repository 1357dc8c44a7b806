import {
  IommuRegion,
  type LeafVisitor,
  type NotifierEvents,
  type RadixTable,
  translateRadix,
  walkRadix,
  type WalkBudget,
  type WalkReport,
} from '../../src/iommu/index.ts';
import { Access, type AddressSpace, type IommuTlbEntry, type PageRange } from '../../src/memory/index.ts';

export const NOT_PRESENT_FAULT = { code: 2, reason: 'nothing is mapped there' };
export const ACCESS_FAULT = { code: 3, reason: 'the mapping does not allow that' };

/** An IOMMU as simple as can be: a table for each index, and nothing else. */
export class RadixRegion extends IommuRegion {
  readonly tables: Map<number, RadixTable> = new Map();
  /** What `refuses` answers. */
  remedy: string | undefined;
  /** Table entries read by all walks. */
  entriesRead = 0;
  walks = 0;

  constructor(
    pages: number,
    target: AddressSpace,
    options: { readonly budget?: WalkBudget; readonly iotlb?: boolean } = {},
  ) {
    super('test-iommu', pages, target, options);
  }

  protected override refuses(_events: NotifierEvents, _index: number): string | undefined {
    return this.remedy;
  }

  protected override resolve(page: number, access: Access, index: number): IommuTlbEntry {
    const table = this.tables.get(index);
    const nothing = { iova: page, pages: 1, target: 0, access: Access.None };
    if (table === undefined) return { ...nothing, fault: NOT_PRESENT_FAULT };
    const found = translateRadix(table, page);
    if (found.kind === 'fault') return { ...nothing, fault: found.fault };
    if (found.kind === 'not-present') {
      return access === Access.None ? nothing : { ...nothing, fault: NOT_PRESENT_FAULT };
    }
    const { iova, pages, target } = found;
    const entry = { iova, pages, target, access: found.access as Access };
    return (found.access & access) === access ? entry : { ...entry, fault: ACCESS_FAULT };
  }

  override walk(range: PageRange, index: number, visit: LeafVisitor, report: WalkReport): void {
    const table = this.tables.get(index);
    if (table === undefined) return;
    const before = report.entries;
    this.walks++;
    walkRadix(table, range, visit, report);
    this.entriesRead += report.entries - before;
  }
}
