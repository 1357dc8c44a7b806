import type { Capture, PageAllocator } from '../../../guests/index.ts';
import { formatPage, type PageRange, type TranslationFault } from '../../../memory/index.ts';
import type { IommuRegion, RequesterId } from '../../../iommu/index.ts';
import { INTERRUPT_RANGE, lookupRequest, spec, type VtdIommu, VtdRegion } from '../../../models/vtd/index.ts';
import type { FaultWords } from '../fault-words.ts';
import type { OpenIommu } from '../open-iommu.ts';
import type { RecordedGuest } from '../recorded-guest.ts';
import { type TableDriver, TableGuest } from '../table-guest.ts';
import type { Trace } from '../trace.ts';
import type { RequesterFinding, Translation } from '../translation.ts';
import { vtdRequesters } from './requesters.ts';
import { VtdTableDriver } from './vtd-driver.ts';
import { traceVtd } from './vtd-trace.ts';
import { translationOf, vtdFault } from './vtd-translation.ts';

const MODES: Readonly<Record<number, string>> = {
  [spec.TTM_LEGACY]: 'legacy mode',
  [spec.TTM_SCALABLE]: 'scalable mode',
  [spec.TTM_ABORT_DMA]: 'abort-DMA mode',
};

/** A VT-d unit as the commands see it. */
export class OpenVtd implements OpenIommu {
  readonly iommu: VtdIommu;
  readonly nobody = 'no context entry is present';
  /** VT-d 3.14: requests without PASID only; those with one are translated here as anywhere. */
  readonly interrupts: { readonly range: PageRange; readonly rule: string } = {
    range: INTERRUPT_RANGE,
    rule: 'whatever the tables say (VT-d 3.14)',
  };

  constructor(iommu: VtdIommu) {
    this.iommu = iommu;
  }

  get off(): string | undefined {
    return this.iommu.translationEnabled ? undefined : 'GSTS_REG.TES is 0';
  }

  get summary(): string {
    const { translationTableMode: mode, rootTable } = this.iommu;
    return `${MODES[mode] ?? `reserved mode (TTM ${mode})`}, root table at ${formatPage(rootTable)}`;
  }

  exempt(): string | undefined {
    return undefined;
  }

  requesters(pasid: number | undefined): Iterable<RequesterFinding> {
    return vtdRequesters(this.iommu, pasid);
  }

  translation(requester: RequesterId, pasid: number | undefined): Translation {
    return translationOf(lookupRequest(this.iommu, requester, pasid));
  }

  trace(requester: RequesterId, pasid: number | undefined, page: number): Trace {
    return traceVtd(this.iommu, requester, pasid, page);
  }

  region(requester: RequesterId): IommuRegion {
    return new VtdRegion('VT-d', this.iommu, requester, { iotlb: false });
  }

  describeFault(fault: TranslationFault): FaultWords {
    return vtdFault(fault);
  }

  unfollowable(requester: RequesterId): string | undefined {
    if (!this.iommu.capability.CM) return 'has no caching mode';
    if (!this.iommu.translationEnabled) return undefined;
    const { kind } = lookupRequest(this.iommu, requester, undefined);
    return kind === 'first-stage' || kind === 'nested' ? 'translates by first-stage tables' : undefined;
  }

  recorded(capture: Capture, requester: RequesterId): Promise<RecordedGuest | undefined> {
    const takeOver = (allocator: PageAllocator): TableDriver => new VtdTableDriver(this.iommu, allocator);
    return TableGuest.of({ capture, iommu: this.iommu, requester }, takeOver);
  }
}
