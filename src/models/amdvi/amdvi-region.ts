import {
  EntryKind,
  IommuRegion,
  LeafBatch,
  type LeafVisitor,
  type NotifierEvents,
  type RadixLookup,
  type RadixStep,
  type RequesterId,
  translateRadix,
  type WalkBudget,
  walkRadix,
  type WalkReport,
} from '../../iommu/index.ts';
import {
  Access,
  addressOf,
  type IommuTlbEntry,
  type PageRange,
  PAGES_END,
  type TranslationFault,
} from '../../memory/index.ts';
import type { AmdviState, Suppress } from './amdvi-state.ts';
import { type DeviceTranslation, hostTable, lookupDevice } from './device-translation.ts';
import { HOST_PAGE_FORMAT } from './page-format.ts';
import * as spec from './spec/index.ts';

/** How a region is set up; the IOMMU passes its own on. */
export interface AmdviRegionOptions {
  readonly budget?: WalkBudget;
  readonly iotlb?: boolean;
}

/** A request under way, and what its device table entry says about faults. */
interface Request {
  readonly page: number;
  readonly access: Access;
  readonly domain: number;
  readonly suppress: Suppress;
}

/** What one requester's DMA goes through. Only requests without PASID, translation index 0, are translated. */
export class AmdviRegion extends IommuRegion {
  readonly requester: RequesterId;
  readonly #state: AmdviState;

  constructor(name: string, state: AmdviState, requester: RequesterId, options: AmdviRegionOptions) {
    super(name, PAGES_END, state.memory, options);
    this.requester = requester;
    this.#state = state;
  }

  /** How requests of `index` are translated now, by the tables in memory; while the IOMMU is off they all pass through. */
  translation(index: number): DeviceTranslation {
    if (index !== 0 && this.#state.enabled) return PASID_FAULT;
    return lookupDevice(this.#state, this.requester);
  }

  protected override refuses(events: NotifierEvents): string | undefined {
    const { capability, guestStopped } = this.#state;
    if (events !== 'map-and-unmap' || guestStopped || capability.NpCache) return undefined;
    return (
      'the guest need not report new mappings, because not-present entries are not cached (NpCache is 0 in the ' +
      'capability header), so a host IOMMU cannot follow it: offer NpCache (in QEMU: -device amd-iommu,dma-remap=on)'
    );
  }

  override walk(range: PageRange, index: number, visit: LeafVisitor, report: WalkReport): void {
    const translation = this.translation(index);
    if (translation.kind === 'fault') {
      report.addFault(range.start, range.end - range.start, translation.fault);
      return;
    }
    if (translation.kind === 'tables') {
      walkRadix(hostTable(this.#state, translation), range, visit, report);
      return;
    }
    const access = translation.kind === 'identity' ? translation.access : Access.ReadWrite;
    walkIdentity(access, range, visit, report);
  }

  protected override resolve(page: number, access: Access, index: number): IommuTlbEntry {
    const translation = this.translation(index);
    if (translation.kind === 'pass-through') {
      return { iova: page, pages: 1, target: page, access: Access.ReadWrite };
    }
    const { domain, suppress } = translation;
    const request: Request = { page, access, domain, suppress };
    if (translation.kind === 'fault')
      return this.#fault(request, translation.fault, translation.entryAddress);
    if (translation.kind === 'identity') {
      const found = { iova: page, pages: 1, target: page, access: translation.access };
      return this.#permitted(request, found);
    }
    if (page >= 512 ** translation.levels) return this.#fault(request, spec.BEYOND_TABLES);
    let last: RadixStep | undefined;
    const found = translateRadix(hostTable(this.#state, translation), page, (step) => (last = step));
    switch (found.kind) {
      case 'leaf':
        return this.#permitted(request, { ...found, access: found.access as Access });
      case 'not-present': {
        // Nothing below the last table stands for the page.
        const isSkipped = last?.kind === EntryKind.Table;
        const fault = isSkipped ? spec.SKIPPED_BIT : spec.PAGE_NOT_PRESENT;
        return access === Access.None ? notMapped(page) : this.#fault(request, fault);
      }
      case 'fault':
        return this.#fault(request, found.fault, unreadableEntry(found, page, last, translation.root));
    }
  }

  #permitted(request: Request, found: IommuTlbEntry): IommuTlbEntry {
    if ((found.access & request.access) !== request.access) return this.#fault(request, spec.NO_PERMISSION);
    return { iova: found.iova, pages: found.pages, target: found.target, access: found.access };
  }

  #fault(request: Request, fault: TranslationFault, address?: bigint): IommuTlbEntry {
    const { page, access, domain, suppress } = request;
    if (access !== Access.None) {
      const isWrite = (access & Access.Write) !== 0;
      const { requester } = this;
      this.#state.recordFault({ requester, page, isWrite, fault, address, domain, suppress });
    }
    return { ...notMapped(page), fault };
  }
}

const PASID_FAULT: DeviceTranslation = {
  kind: 'fault',
  fault: spec.PASID_NOT_TRANSLATED,
  entryAddress: undefined,
  domain: 0,
  excluded: false,
  suppress: 'none',
};

/** Addresses as they are: one leaf over everything. */
function walkIdentity(access: Access, range: PageRange, visit: LeafVisitor, report: WalkReport): void {
  if (access === Access.None || range.start >= range.end) return;
  const batch = new LeafBatch();
  batch.pages = PAGES_END;
  batch.push(0, 0, access);
  report.leaves++;
  visit(batch);
}

/** Byte address of the entry at which a lookup ended because its table does not lie in RAM; undefined for other faults. */
function unreadableEntry(
  { level, fault }: Extract<RadixLookup, { kind: 'fault' }>,
  page: number,
  last: RadixStep | undefined,
  root: number,
): bigint | undefined {
  if (fault !== spec.TABLE_UNREADABLE) return undefined;
  const table = last === undefined ? root : spec.pageOf(last.lo, last.hi & spec.PTE_PAGE_HI);
  const index = Math.floor(page / HOST_PAGE_FORMAT.span(level)) % 512;
  return addressOf(table) + BigInt(index * 8);
}

function notMapped(page: number): IommuTlbEntry {
  return { iova: page, pages: 1, target: 0, access: Access.None };
}
