import type { Mapping } from '../../../src/iommu/index.ts';
import {
  HostRefusedError,
  type HostIommu,
  type HostIommuLimits,
  type HostRefusal,
  type RamSlice,
} from '../../../src/vfio/index.ts';

/** A host that answers at once, and of which the nth map from a moment on, and as many after it as asked for, are refused. */
export class MapRefuser implements HostIommu {
  readonly name: string;
  readonly inner: HostIommu;
  #countdown = Number.POSITIVE_INFINITY;
  #failures = 0;
  #refusals: HostRefusal[] = [];

  constructor(inner: HostIommu) {
    this.name = inner.name;
    this.inner = inner;
  }

  get limits(): HostIommuLimits {
    return this.inner.limits;
  }

  /** Map `nth` (1 is the next) is refused, and `failures` - 1 after it. */
  refuse(nth: number, failures: number): void {
    this.#countdown = nth;
    this.#failures = failures;
  }

  map(mapping: Mapping, ram: RamSlice): void {
    this.#countdown--;
    if (this.#countdown > 0 || this.#countdown <= -this.#failures) {
      this.inner.map(mapping, ram);
      return;
    }
    const { iova, pages } = mapping;
    this.#refusals.push({ op: 'map', iova, pages, errno: 'ENOMEM', reason: 'no memory: free some' });
  }

  unmap(iova: number, pages: number): void {
    this.inner.unmap(iova, pages);
  }

  barrier(): void {
    const refusals = this.#refusals;
    this.#refusals = [];
    try {
      void this.inner.barrier();
    } catch (error) {
      if (!(error instanceof HostRefusedError)) throw error;
      refusals.push(...error.refusals);
    }
    if (refusals.length > 0) throw new HostRefusedError(refusals);
  }
}
