/** What the guest's tables say, as text to compare with a ledger. @module */
import { type LeafBatch, type RequesterId, WalkReport } from '../../../src/iommu/index.ts';
import { Access, type AddressSpace, ALL_PAGES, formatAccess } from '../../../src/memory/index.ts';
import { VtdIommu } from '../../../src/models/vtd/index.ts';
import { filePage } from '../../../src/qemu/index.ts';

/** `IOVA+PAGES>TARGET ACCESS`: page numbers in hexadecimal. */
export type DmaText = string;

/** A mapping as a {@link DmaText}. */
export function dmaText(iova: number, pages: number, target: number, access: number): DmaText {
  return `${iova.toString(16)}+${pages.toString(16)}>${target.toString(16)} ${formatAccess(access as Access)}`;
}

/**
 * The leaves of `requester` in ascending order, targets guest-physical, as our walker reads them in `memory` under the
 * registers of `dump`. A fault that the walk finds is an error: no test writes such tables unknowingly.
 */
export function leavesOf(memory: AddressSpace, dump: Uint8Array, requester: RequesterId): DmaText[] {
  return walked(memory, dump, requester, dmaText);
}

/**
 * The same as QEMU sends them: targets are pages of its RAM file, and what may be written may be read, because its VFIO
 * code knows read-only and the rest.
 */
export function sentByQemu(memory: AddressSpace, dump: Uint8Array, requester: RequesterId): DmaText[] {
  return walked(memory, dump, requester, (iova, pages, target, access) =>
    dmaText(iova, pages, filePage(target), access | Access.Read),
  );
}

function walked(
  memory: AddressSpace,
  dump: Uint8Array,
  requester: RequesterId,
  text: typeof dmaText,
): DmaText[] {
  const unit = VtdIommu.fromRegisters({ memory, bytes: dump, guestStopped: true });
  const leaves: DmaText[] = [];
  const report = new WalkReport();
  const visit = (batch: LeafBatch): boolean => {
    for (let i = 0; i < batch.length; i++) {
      leaves.push(text(batch.iova[i], batch.pages, batch.target[i], batch.access[i] as Access));
    }
    return true;
  };
  const { region } = unit.requesterSpace(requester);
  region.walk(ALL_PAGES, 0, visit, report);
  unit.releaseAddressSpace(requester);
  const [fault] = report.faults;
  if (fault !== undefined) throw new Error(`the walk found a fault: ${JSON.stringify(fault)}`);
  return leaves;
}
