import { type Completion, type PageAllocator, VtdGuestDriver } from '../../../guests/index.ts';
import type { RequesterId } from '../../../iommu/index.ts';
import type { VtdIommu } from '../../../models/vtd/index.ts';
import type { TableDriver } from '../table-guest.ts';

/** The driver of a captured VT-d guest. */
export class VtdTableDriver implements TableDriver {
  readonly driver: VtdGuestDriver;

  /** Takes over what the registers of `iommu` point at. GuestDriverError when that is not possible. */
  constructor(iommu: VtdIommu, allocator: PageAllocator) {
    this.driver = new VtdGuestDriver({
      memory: iommu.memory,
      registers: iommu,
      allocator,
      settled: () => iommu.settled(),
    });
    this.driver.attach();
  }

  startFromNothing(requester: RequesterId): Completion {
    const { driver } = this;
    const old = driver.domainOf(requester);
    const levels = old?.levels === 3 || old?.levels === 5 ? old.levels : 4;
    const domain = driver.createDomain({ levels });
    return old === undefined
      ? driver.attachDevice(requester, domain)
      : driver.switchDomain(requester, domain);
  }
}
