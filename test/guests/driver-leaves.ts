import { type IommuRegion, type LeafBatch, type RequesterId, WalkReport } from '../../src/iommu/index.ts';
import { ALL_PAGES, formatAccess } from '../../src/memory/index.ts';

/** A model whose tables can be walked. */
interface Walkable {
  requesterSpace(requester: RequesterId): { readonly region: IommuRegion };
}

/** Asserts that an operation was complete when it returned, as it must be with a unit that answers at once. */
export function done(completion: void | Promise<void>): void {
  if (completion !== undefined) throw new Error('the operation was not complete when it returned');
}

/** The leaves that the model walks for a requester; a fault of the walk is an entry `fault: ...`. */
export function walkedLeaves(unit: Walkable, requester: RequesterId, index = 0): string[] {
  const leaves: string[] = [];
  const report = new WalkReport();
  const visit = (batch: LeafBatch): boolean => {
    for (let i = 0; i < batch.length; i++) {
      leaves.push(leafText(batch.iova[i] ?? 0, batch.pages, batch.target[i] ?? 0, batch.access[i] ?? 0));
    }
    return true;
  };
  unit.requesterSpace(requester).region.walk(ALL_PAGES, index, visit, report, 1);
  return [...leaves, ...report.faults.map(({ fault }) => `fault: ${fault.reason}`)];
}

/** A leaf as {@link walkedLeaves} writes it. */
export function leafText(iova: number, pages: number, target: number, access: number): string {
  return `${iova.toString(16)}+${pages.toString(16)}>${target.toString(16)} ${formatAccess(access as 0 | 1 | 2 | 3)}`;
}
