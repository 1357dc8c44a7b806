import { type RequesterId, requesterId } from '../iommu/index.ts';
import type { PciFunction } from './hierarchy.ts';

/**
 * The requester ID under which an IOMMU at the root sees DMA of `fn`.
 *
 * PCI Express carries a function's own ID. Behind a PCIe-to-PCI bridge every function uses the secondary bus number
 * with device 0, function 0 (PCI Express to PCI/PCI-X Bridge Specification 2.3); behind a conventional bridge, the
 * bridge's own ID. The bridge nearest the root has the last word.
 */
export function requesterOf(fn: PciFunction): RequesterId {
  let requester = fn.id;
  for (let bridge = fn.bus.bridge; bridge !== undefined; bridge = bridge.bus.bridge) {
    if (bridge.kind === 'pcie-to-pci') requester = requesterId(bridge.secondary.number, 0, 0);
    else if (bridge.kind === 'pci-to-pci') requester = bridge.id;
  }
  return requester;
}
