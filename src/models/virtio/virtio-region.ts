import {
  IommuRegion,
  type LeafVisitor,
  type RequesterId,
  type WalkBudget,
  type WalkReport,
  withBatch,
  BATCH_LEAVES,
} from '../../iommu/index.ts';
import {
  Access,
  type AddressSpace,
  type IommuTlbEntry,
  type PageRange,
  PAGES_END,
  type TranslationFault,
} from '../../memory/index.ts';
import type { Domain, EndpointId } from './domain-table.ts';
import * as spec from './spec/index.ts';

/** What regions ask of the device. */
export interface TranslationState {
  /** Guest-physical memory. */
  readonly memory: AddressSpace;
  domainOf(endpoint: EndpointId): Domain | undefined;
  /** Whether `endpoint` is in bypass mode (virtio 1.3, 5.13.6). */
  isBypassing(endpoint: EndpointId): boolean;
  /** An access was blocked. */
  accessBlocked(endpoint: EndpointId, page: number, access: Access, reason: number): void;
}

const UNATTACHED: TranslationFault = {
  code: spec.FAULT_R_DOMAIN,
  reason: 'the endpoint is not attached to a domain',
};
const UNMAPPED: TranslationFault = {
  code: spec.FAULT_R_MAPPING,
  reason: 'the address is not mapped in the domain, or not for this access',
};

/**
 * What the DMA of one endpoint goes through while it is not in bypass mode. There are no tables to walk, but the mappings
 * of the domain in their order. Requests with a PASID are translated as those without: virtio-iommu knows none.
 */
export class VirtioRegion extends IommuRegion {
  readonly endpoint: RequesterId;
  readonly #state: TranslationState;

  /** Nothing is cached: finding a mapping takes no longer. */
  constructor(
    name: string,
    state: TranslationState,
    endpoint: RequesterId,
    options: { readonly budget?: WalkBudget },
  ) {
    super(name, PAGES_END, state.memory, { ...options, iotlb: false });
    this.endpoint = endpoint;
    this.#state = state;
  }

  override walk(range: PageRange, _index: number, visit: LeafVisitor, report: WalkReport): void {
    const mappings = this.#state.domainOf(this.endpoint)?.mappings;
    if (mappings === undefined) return;
    withBatch((batch) => {
      batch.length = 0;
      for (const cursor = mappings.cursor(range.start); cursor.valid; cursor.next()) {
        const { iova, pages } = cursor;
        if (iova >= range.end) break;
        report.entries++;
        const access = cursor.flags & Access.ReadWrite;
        if (access === Access.None) continue;
        if (batch.length > 0 && (batch.pages !== pages || batch.length === BATCH_LEAVES)) {
          if (!visit(batch)) return;
          batch.length = 0;
        }
        if (report.leaves >= report.budget.leaves || report.entries > report.budget.entries) {
          report.cutAt = iova;
          break;
        }
        report.leaves++;
        batch.pages = pages;
        batch.push(iova, cursor.target, access);
      }
      if (batch.length > 0) visit(batch);
    });
  }

  protected override resolve(page: number, access: Access): IommuTlbEntry {
    const domain = this.#state.domainOf(this.endpoint);
    const found = domain?.mappings.find(page);
    if (found !== undefined && (found.flags & access) === access) {
      return {
        iova: found.iova,
        pages: found.pages,
        target: found.target,
        access: (found.flags & Access.ReadWrite) as Access,
      };
    }
    const nothing = { iova: page, pages: 1, target: 0, access: Access.None };
    if (access === Access.None) return nothing;
    const fault = domain === undefined ? UNATTACHED : UNMAPPED;
    this.#state.accessBlocked(this.endpoint, page, access, fault.code);
    return { ...nothing, fault };
  }
}
