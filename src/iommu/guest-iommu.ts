import type { AddressSpace } from '../memory/index.ts';
import type { Mapping } from './leaf-batch.ts';
import type { RequesterId } from './requester-id.ts';

/** What a machine needs of a guest-visible IOMMU, whatever its kind. Every model is one. */
export interface GuestIommu {
  /** Name for people, such as `VT-d`. */
  readonly name: string;

  /**
   * What `requester` sees: the same address space each time, made when first asked for and kept up to date from then
   * on. It shows RAM directly while requests pass untranslated and an IOMMU region while they are translated.
   */
  addressSpace(requester: RequesterId): AddressSpace;

  /** Forgets the address space of `requester`, which must have no listeners left. */
  releaseAddressSpace(requester: RequesterId): void;

  /**
   * Resolves, or returns, when everything that the guest asked for so far is complete, invalidations with their host
   * unmaps included.
   */
  settled(): void | Promise<void>;

  /**
   * A host refused `mapping` for `requester` and the guest could not be told by a status: the device behind it is
   * cut off. The model tells the guest in its own way (a fault record).
   */
  hostRefused(requester: RequesterId, mapping: Mapping): void;
}
