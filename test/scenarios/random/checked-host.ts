import type { Mapping } from '../../../src/iommu/index.ts';
import {
  type HostMapping,
  MemoryHostIommu,
  type MemoryHostOptions,
  type RamSlice,
} from '../../../src/vfio/index.ts';

/** A host in memory that shows each mapping to a judge at the moment at which it takes it. */
export class CheckedHost extends MemoryHostIommu {
  readonly #judge: (mapping: HostMapping) => void;

  constructor(options: MemoryHostOptions, judge: (mapping: HostMapping) => void) {
    super(options);
    this.#judge = judge;
  }

  override map(mapping: Mapping, ram: RamSlice): void {
    this.#judge({ ...mapping, ram });
    super.map(mapping, ram);
  }
}
