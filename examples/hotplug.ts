import { VtdGuestDriver, PageAllocator } from 'viommu/guests';
import { requesterId } from 'viommu/iommu';
import { guestMemory, Machine } from 'viommu/machine';
import { Access, DenseRamBlock, formatAccess, formatPage } from 'viommu/memory';
import { VtdIommu } from 'viommu/models/vtd';
import { MemoryHostIommu } from 'viommu/vfio';

// A machine: 64 MiB of RAM, and a VT-d unit in caching mode before its devices.
const block = new DenseRamBlock(16_384);
const { memory } = guestMemory([{ start: 0, block }]);
const iommu = new VtdIommu({ memory });
const machine = new Machine({ memory, iommu });

// The guest boots and maps two buffers for device 00:04.0, in tables that it writes into its own memory.
const allocator = new PageAllocator([{ start: 0, end: block.pages }]);
const guest = new VtdGuestDriver({ memory, registers: iommu, allocator });
await guest.boot({ mode: 'legacy' });
const domain = guest.createDomain({ levels: 4 });
await guest.attachDevice(requesterId(0, 4, 0), domain);
await guest.map(domain, 0x100, 1, 0x2000, Access.Read);
await guest.map(domain, 0x200, 512, 0x2200, Access.ReadWrite);

// Only now a VFIO device is plugged into that slot. What existed before is replayed into its host IOMMU.
const host = new MemoryHostIommu({ strictness: 'type1' });
const device = await machine.plug({ bus: machine.pci, device: 4, name: 'nic' }, host);
console.log(`replayed ${device.report.replayed} mappings`);

// From here on every change follows, and the guest's unmap is complete only when the host has confirmed it.
await guest.unmap(domain, 0x100, 1);
await guest.map(domain, 0x300_0000, 1, 0x2001, Access.Write);
for (const { iova, pages, target, access } of host.mappings()) {
  console.log(`${formatPage(iova)} -> ${formatPage(target)} ${pages} pages ${formatAccess(access)}`);
}

await machine.unplug(device);
console.log(`after the unplug the host holds ${[...host.mappings()].length} mappings`);
