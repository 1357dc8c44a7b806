import type { Mapping } from '../../src/iommu/index.ts';
import { formatAccess } from '../../src/memory/index.ts';
import { HostRefusedError, type HostRefusal, MemoryHostIommu, type RamSlice } from '../../src/vfio/index.ts';

/** A host in memory that writes down what it is asked for, and what it refused. */
export class RecordingHost extends MemoryHostIommu {
  readonly refusals: HostRefusal[] = [];
  readonly #log: string[] = [];

  override map(mapping: Mapping, ram: RamSlice): void {
    this.#log.push(`map ${mappingText(mapping)}`);
    super.map(mapping, ram);
  }

  override unmap(iova: number, pages: number): void {
    this.#log.push(`unmap ${iova.toString(16)}+${pages.toString(16)}`);
    super.unmap(iova, pages);
  }

  override barrier(): void {
    try {
      super.barrier();
    } catch (error) {
      if (error instanceof HostRefusedError) this.refusals.push(...error.refusals);
      throw error;
    }
  }

  /** Maps and unmaps since the last call, in order, as `map IOVA+PAGES>TARGET ACCESS` and `unmap IOVA+PAGES`, in hexadecimal. */
  take(): string[] {
    return this.#log.splice(0);
  }

  /** Everything held, ascending, as `IOVA+PAGES>TARGET ACCESS`. */
  get held(): string[] {
    return [...this.mappings()].map(mappingText);
  }
}

/** `IOVA+PAGES>TARGET ACCESS`: page numbers in hexadecimal. */
export function mappingText({ iova, pages, target, access }: Mapping): string {
  return `${iova.toString(16)}+${pages.toString(16)}>${target.toString(16)} ${formatAccess(access)}`;
}
