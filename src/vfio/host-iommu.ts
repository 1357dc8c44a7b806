import type { Mapping } from '../iommu/index.ts';
import type { PageRange, RamBlock } from '../memory/index.ts';

/** What a host IOMMU can hold. */
export interface HostIommuLimits {
  /** Page sizes in bytes as a bit mask (bit 12 = 4 KiB); every mapping is made of whole pages of the smallest. */
  readonly pageSizes: bigint;
  /** Page ranges in which mappings may lie, ascending. */
  readonly apertures: readonly PageRange[];
  /** Mappings that it can hold at once. */
  readonly maxMappings: number;
  /** Whether an unmap must name one mapping exactly, or may cover several or none. Bisecting is refused by all. */
  readonly unmap: 'exact' | 'contained';
  /** Whether a mapping can be replaced by others without a moment in which it is absent. */
  readonly atomicReplace: boolean;
}

/** The memory behind a mapping: pages of a block of guest RAM, from `page` on. */
export interface RamSlice {
  readonly block: RamBlock;
  /** First page within the block. */
  readonly page: number;
}

/** One operation that a host did not carry out. */
export interface HostRefusal {
  readonly op: 'map' | 'unmap';
  readonly iova: number;
  readonly pages: number;
  /** The errno's name, such as `EEXIST`. */
  readonly errno: string;
  /** One sentence: what is wrong and what would help. */
  readonly reason: string;
}

/** Thrown by a barrier: operations since the last barrier that were refused. All others took effect. */
export class HostRefusedError extends Error {
  readonly code = 'VIOMMU_HOST_REFUSED';
  override readonly name = 'HostRefusedError';
  readonly refusals: readonly HostRefusal[];

  constructor(refusals: readonly HostRefusal[]) {
    const first = refusals[0];
    const more = refusals.length > 1 ? ` (and ${refusals.length - 1} more)` : '';
    super(first === undefined ? 'nothing was refused' : `${first.errno}: ${first.reason}${more}`);
    this.refusals = refusals;
  }
}

/** A host's IOMMU as VFIO offers it: type1, iommufd, vfio-user, or memory for tests and captures. */
export interface HostIommu {
  /** Name for people. */
  readonly name: string;
  readonly limits: HostIommuLimits;
  /** Queues a mapping of `m` onto `ram`. `m.target` is the guest-physical page, for reports. */
  map(m: Mapping, ram: RamSlice): void;
  /** Queues an unmap of `pages` pages from `iova` on. */
  unmap(iova: number, pages: number): void;
  /**
   * Returns, or resolves, when every queued operation is confirmed; throws, or rejects with, HostRefusedError when
   * some were refused, and any other error when the host is lost.
   */
  barrier(): void | Promise<void>;
  /**
   * Names who is called when the host finds that it is lost, whether or not anything was asked of it then; the one named
   * last counts. A barrier afterwards says why. A host without it is lost when a barrier says so.
   */
  whenLost?(listener: () => void): void;
  /**
   * Opens a host anew: when this resolves it holds nothing, what was queued before is forgotten, and `limits` may be
   * others. Rejects when that was not possible: then the host is as lost as before, and it can be tried again. Nothing
   * may be queued meanwhile. A host without it stays lost.
   */
  reopen?(): Promise<void>;
}
