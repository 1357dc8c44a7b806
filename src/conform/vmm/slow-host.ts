import type { Mapping } from '../../iommu/index.ts';
import type { HostIommu, HostIommuLimits, RamSlice } from '../../vfio/index.ts';

/** A host that holds what it is asked for only later: a barrier takes some time for every mapping since the last. */
export class SlowHost implements HostIommu {
  readonly name: string;
  readonly limits: HostIommuLimits;
  readonly #inner: HostIommu;
  readonly #delay: number;
  #queue: (() => void)[] = [];
  #maps = 0;

  /** `delay` is in milliseconds, for every mapping. */
  constructor(inner: HostIommu, delay: number) {
    this.name = `slow ${inner.name}`;
    this.limits = inner.limits;
    this.#inner = inner;
    this.#delay = delay;
  }

  map(mapping: Mapping, ram: RamSlice): void {
    const { iova, pages, target, access } = mapping;
    this.#queue.push(() => this.#inner.map({ iova, pages, target, access }, ram));
    this.#maps++;
  }

  unmap(iova: number, pages: number): void {
    this.#queue.push(() => this.#inner.unmap(iova, pages));
  }

  async barrier(): Promise<void> {
    const [operations, maps] = [this.#queue, this.#maps];
    this.#queue = [];
    this.#maps = 0;
    await new Promise((resolve) => setTimeout(resolve, maps * this.#delay));
    for (const operation of operations) operation();
    await this.#inner.barrier();
  }
}
