import {
  AmdviGuestDriver,
  type AmdviMode,
  type Completion,
  type PageAllocator,
} from '../../../guests/index.ts';
import type { RequesterId } from '../../../iommu/index.ts';
import type { AmdviIommu } from '../../../models/amdvi/index.ts';
import type { TableDriver } from '../table-guest.ts';

/** Levels of tables that Linux begins with. */
const USUAL_MODE: AmdviMode = 3;

/** The driver of a captured AMD-Vi guest. */
export class AmdviTableDriver implements TableDriver {
  readonly driver: AmdviGuestDriver;

  /** Takes over what the registers of `iommu` point at. GuestDriverError when that is not possible. */
  constructor(iommu: AmdviIommu, allocator: PageAllocator) {
    this.driver = new AmdviGuestDriver({
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
    const levels = old?.levels ?? 0;
    const domain = driver.createDomain({ mode: levels > USUAL_MODE ? (levels as AmdviMode) : USUAL_MODE });
    return old === undefined
      ? driver.attachDevice(requester, domain)
      : driver.switchDomain(requester, domain);
  }
}
