/** What memory knows of an IOMMU: a region whose accesses end elsewhere. @module */
import type { Access } from './access.ts';
import type { AddressSpace } from './address-space.ts';
import { MemoryRegion } from './region.ts';

/** Why an address does not translate, in the words and codes of the model's specification. */
export interface TranslationFault {
  /** The specification's code for the condition. */
  readonly code: number;
  /** One sentence for people. */
  readonly reason: string;
}

/** The answer to "where does this page go": pages `iova` to `iova + pages` lie at `target` onward. */
export interface IommuTlbEntry {
  /** First page covered, aligned to the leaf's size. */
  readonly iova: number;
  /** Pages covered. */
  readonly pages: number;
  /** Page in the target address space at which `iova` lies. */
  readonly target: number;
  /** What the mapping allows; `None` when there is no mapping. */
  readonly access: Access;
  /** Set when the access asked for cannot be done. */
  readonly fault?: TranslationFault;
}

/** A region that translates. The iommu room implements it. */
export abstract class TranslatingRegion extends MemoryRegion {
  /** Where translated accesses go. */
  abstract readonly target: AddressSpace;

  /**
   * Translates the page `page` (counted from the region's start) for `access`; `None` only asks and has no effect
   * the guest could see. `index` tells apart several translations of one region (a PASID). Never throws for
   * anything a guest wrote.
   */
  abstract translatePage(page: number, access: Access, index: number): IommuTlbEntry;
}
