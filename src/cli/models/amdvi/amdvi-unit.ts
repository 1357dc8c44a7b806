import type { Capture, PageAllocator } from '../../../guests/index.ts';
import type { IommuRegion, RequesterId } from '../../../iommu/index.ts';
import { formatPage, formatRange, type PageRange, type TranslationFault } from '../../../memory/index.ts';
import { type AmdviIommu, AmdviRegion, INTERRUPT_RANGE, lookupDevice } from '../../../models/amdvi/index.ts';
import { plural } from '../../terminal/text.ts';
import type { FaultWords } from '../fault-words.ts';
import type { OpenIommu } from '../open-iommu.ts';
import type { RecordedGuest } from '../recorded-guest.ts';
import { type TableDriver, TableGuest } from '../table-guest.ts';
import type { Trace } from '../trace.ts';
import type { RequesterFinding, Translation } from '../translation.ts';
import { AmdviTableDriver } from './amdvi-driver.ts';
import { traceAmdvi } from './amdvi-trace.ts';
import { amdviFault, translationOf } from './amdvi-translation.ts';
import { amdviRequesters } from './requesters.ts';

/** An AMD-Vi IOMMU as the commands see it. */
export class OpenAmdvi implements OpenIommu {
  readonly iommu: AmdviIommu;
  readonly nobody = 'no device table entry says how';
  readonly interrupts: { readonly range: PageRange; readonly rule: string } = {
    range: INTERRUPT_RANGE,
    rule: 'whatever the tables say (AMD-Vi 2.1)',
  };

  constructor(iommu: AmdviIommu) {
    this.iommu = iommu;
  }

  get off(): string | undefined {
    return this.iommu.enabled ? undefined : 'IommuEn of the Control register is 0';
  }

  get summary(): string {
    const { deviceTable, exclusion } = this.iommu;
    const table = `device table at ${formatPage(deviceTable.page)} of ${plural(deviceTable.entries, 'entry', 'entries')}`;
    return exclusion === undefined ? table : `${table}, exclusion range ${formatRange(exclusion.range)}`;
  }

  exempt(requester: RequesterId, page: number): string | undefined {
    const { exclusion } = this.iommu;
    if (exclusion === undefined || page < exclusion.range.start || page >= exclusion.range.end)
      return undefined;
    const found = lookupDevice(this.iommu, requester);
    const own = (found.kind === 'tables' || found.kind === 'identity') && found.excluded;
    return own || exclusion.everyDevice
      ? `${formatRange(exclusion.range)} is the exclusion range`
      : undefined;
  }

  requesters(): Iterable<RequesterFinding> {
    return amdviRequesters(this.iommu);
  }

  translation(requester: RequesterId): Translation {
    return translationOf(lookupDevice(this.iommu, requester));
  }

  trace(requester: RequesterId, _pasid: number | undefined, page: number): Trace {
    return traceAmdvi(this.iommu, requester, page);
  }

  region(requester: RequesterId): IommuRegion {
    return new AmdviRegion('AMD-Vi', this.iommu, requester, { iotlb: false });
  }

  describeFault(fault: TranslationFault): FaultWords {
    return amdviFault(fault);
  }

  unfollowable(): string | undefined {
    return this.iommu.capability.NpCache
      ? undefined
      : 'caches no entries that are not present (NpCache is 0)';
  }

  recorded(capture: Capture, requester: RequesterId): Promise<RecordedGuest | undefined> {
    const takeOver = (allocator: PageAllocator): TableDriver => new AmdviTableDriver(this.iommu, allocator);
    return TableGuest.of({ capture, iommu: this.iommu, requester }, takeOver);
  }
}
