import { AmdviGuestDriver } from '../../guests/index.ts';
import { AmdviIommu } from '../../models/amdvi/index.ts';
import { amdviCapabilityHeader, QtestAmdviRegisters } from '../../qemu/index.ts';
import type { ConformModel } from '../model.ts';
import { AmdviGuest } from './amdvi-guest.ts';

/** AMD-Vi that caches what is not present, so that guests report what they map. */
export const amdvi: ConformModel = {
  inProcess(_options, memory) {
    const iommu = new AmdviIommu({ memory });
    return {
      iommu,
      reset: () => iommu.reset(),
      newGuest: (allocator) => {
        const settled = (): void | Promise<void> => iommu.settled();
        return new AmdviGuest(
          new AmdviGuestDriver({ memory, registers: iommu, allocator, settled }),
          settled,
        );
      },
    };
  },

  qemuArguments(_options, build) {
    if (!build.devices.has('amd-iommu')) return 'this QEMU has no amd-iommu';
    return ['-device', 'amd-iommu,dma-remap=on'];
  },

  inQemu(_options, { memory, qtest, pci }) {
    return {
      newGuest: async (allocator) => {
        const registers = await QtestAmdviRegisters.of(qtest);
        const capabilityHeader = await amdviCapabilityHeader(pci);
        const settled = (): Promise<void> => registers.settled();
        const driver = new AmdviGuestDriver({ memory, registers, allocator, settled, capabilityHeader });
        return new AmdviGuest(driver, settled);
      },
    };
  },
};
