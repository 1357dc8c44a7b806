import type { Capture } from '../../guests/index.ts';
import { formatRequesterId, parseRequesterId, type RequesterId } from '../../iommu/index.ts';
import type { Machine, PlugPlace } from '../../machine/index.ts';
import type { PciBus } from '../../pci/index.ts';

/** Vendor and device ID of the bridges in a capture that turn PCI Express into conventional PCI. */
const PCIE_TO_PCI = { vendor: 0x1b36, device: 0x000e };

/**
 * Builds the buses above the device that a capture plugs, with the functions that share its bus, and says which slot
 * is free for it. `requester` is the ID under which the IOMMU is to see it.
 */
export function capturedPlace(machine: Machine, capture: Capture, requester: RequesterId): PlugPlace {
  const number = requester >>> 8;
  const bus = number === 0 ? machine.pci : busBelow(machine.pci, capture, number);
  const conventional = bus.bridge?.kind === 'pcie-to-pci';
  const place = { bus, name: 'captured vfio device' };
  if (!conventional) return { ...place, device: (requester >>> 3) & 0x1f, fn: requester & 7 };
  // All functions here share the bridge's ID, so any free slot does, as it did for the guest.
  for (const { bdf } of capture.pci) {
    const id = parseRequesterId(bdf);
    if (id !== undefined && id >>> 8 === number) bus.attach(`captured ${bdf}`, (id >>> 3) & 0x1f, id & 7);
  }
  const taken = new Set(bus.functions.map((fn) => fn.device));
  const free = Array.from({ length: 31 }, (_, i) => i + 1).find((device) => !taken.has(device));
  if (free === undefined) throw new RangeError(`bus ${number} of the capture has no free slot`);
  return { ...place, device: free };
}

/** Captures tell functions and their numbers, not which bridge leads where; buses are numbered in the order of bridges. */
function busBelow(root: PciBus, capture: Capture, number: number): PciBus {
  const above = capture.pci.find(({ bdf, vendor, device }) => {
    const id = parseRequesterId(bdf);
    const isBridge = vendor === PCIE_TO_PCI.vendor && device === PCIE_TO_PCI.device;
    return isBridge && id !== undefined && id >>> 8 === number - 1;
  });
  if (above === undefined) return root.attachBridge('root port', 0x1e, 0, 'root-port', number).secondary;
  const id = parseRequesterId(above.bdf) ?? 0;
  const upper =
    number === 1 ? root : root.attachBridge('root port', 0x1e, 0, 'root-port', number - 1).secondary;
  return upper.attachBridge(
    `bridge ${formatRequesterId(id)}`,
    (id >>> 3) & 0x1f,
    id & 7,
    'pcie-to-pci',
    number,
  ).secondary;
}
