import { type GuestIommu, type RequesterId } from '../iommu/index.ts';
import type { AddressSpace } from '../memory/index.ts';
import type { PciFunction } from './hierarchy.ts';
import { requesterOf } from './requester.ts';

/** Lends each function the address space of its requester; functions behind one bridge share theirs. */
export class DmaSpaces {
  readonly #memory: AddressSpace;
  readonly #iommu: GuestIommu | undefined;
  readonly #users: Map<RequesterId, number> = new Map();

  /** Without an IOMMU every function sees `memory`. Neither is owned. */
  constructor(memory: AddressSpace, iommu: GuestIommu | undefined) {
    this.#memory = memory;
    this.#iommu = iommu;
  }

  /** What DMA of `fn` sees; to be given back by {@link release}. */
  acquire(fn: PciFunction): AddressSpace {
    if (this.#iommu === undefined) return this.#memory;
    const requester = requesterOf(fn);
    const space = this.#iommu.addressSpace(requester);
    this.#users.set(requester, (this.#users.get(requester) ?? 0) + 1);
    return space;
  }

  /** Ends one `acquire`; the space goes with its last user. */
  release(fn: PciFunction): void {
    if (this.#iommu === undefined) return;
    const requester = requesterOf(fn);
    const users = (this.#users.get(requester) ?? 0) - 1;
    if (users < 0) throw new Error(`${fn.name} releases an address space that it never acquired`);
    if (users > 0) {
      this.#users.set(requester, users);
      return;
    }
    this.#users.delete(requester);
    this.#iommu.releaseAddressSpace(requester);
  }
}
