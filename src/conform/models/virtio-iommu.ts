import { VirtioDeviceTransport, VirtioIommuGuestDriver } from '../../guests/index.ts';
import { type RequesterId, requesterId } from '../../iommu/index.ts';
import { VirtioIommu } from '../../models/virtio/index.ts';
import { QtestVirtioPci } from '../../qemu/index.ts';
import type { ConformModel } from '../model.ts';
import { VirtioGuest } from './virtio-guest.ts';

/** Where QEMU's device is, and where its structures are placed. */
const FUNCTION: RequesterId = requesterId(0, 2, 0);
const BAR = 0xe100_0000n;

/** Input addresses of 48 bits, as QEMU's device has them when told to. */
const AW_BITS = 48;

/** A virtio IOMMU with pages of 4 KiB, whose endpoints reach nothing before they are attached unless a scenario says so. */
export const virtioIommu: ConformModel = {
  inProcess({ bootBypass = false }, memory) {
    const inputRange = { start: 0n, end: 2n ** BigInt(AW_BITS) - 1n };
    const iommu = new VirtioIommu({ memory, bootBypass, inputRange });
    return {
      iommu,
      reset: () => iommu.systemReset(),
      newGuest: (allocator) => {
        const transport = new VirtioDeviceTransport(iommu.device, () => iommu.settled());
        return new VirtioGuest(new VirtioIommuGuestDriver({ memory, transport, allocator }));
      },
    };
  },

  qemuArguments({ bootBypass = false }, build) {
    if (!build.devices.has('virtio-iommu-pci')) return 'this QEMU has no virtio-iommu-pci';
    const bypass = bootBypass ? 'on' : 'off';
    return ['-device', `virtio-iommu-pci,addr=2,granule=4k,aw-bits=${AW_BITS},boot-bypass=${bypass}`];
  },

  inQemu(_options, { memory, qtest, pci }) {
    return {
      newGuest: async (allocator) => {
        const transport = await QtestVirtioPci.of(qtest, pci, FUNCTION, BAR);
        return new VirtioGuest(new VirtioIommuGuestDriver({ memory, transport, allocator }));
      },
    };
  },
};
