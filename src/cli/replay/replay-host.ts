import { HostRefusedError, type HostIommu, type HostMessages, MemoryHostIommu } from '../../vfio/index.ts';
import type { HostIommuLimits, RamSlice } from '../../vfio/index.ts';
import type { Mapping } from '../../iommu/index.ts';

/** A host whose mappings can be looked at. */
export interface ReplayHost extends HostIommu {
  /** Mappings held. */
  readonly size: number;
  /** Operations asked for so far. */
  readonly messages: HostMessages;
  /** Everything held, ascending. The host must not change meanwhile. */
  mappings(): Iterable<Mapping>;
}

/**
 * A host that nobody can look into, such as a vfio-user server, with a record beside it of what it was given and did
 * not refuse. The record is a strict host itself: what a server could refuse as overlapping or unknown, it refuses.
 */
export class RecordedHost implements ReplayHost {
  readonly name: string;
  readonly #host: HostIommu;
  readonly #record: MemoryHostIommu;
  readonly #messages: { -readonly [K in keyof HostMessages]: number } = { map: 0, unmap: 0, barrier: 0 };

  /** `host` must be empty. */
  constructor(host: HostIommu) {
    const { pageSizes, maxMappings } = host.limits;
    this.name = host.name;
    this.#host = host;
    this.#record = new MemoryHostIommu({ strictness: 'vfio-user', name: host.name, pageSizes, maxMappings });
  }

  get limits(): HostIommuLimits {
    return this.#host.limits;
  }

  get size(): number {
    return this.#record.size;
  }

  get messages(): HostMessages {
    return { ...this.#messages };
  }

  mappings(): Iterable<Mapping> {
    return this.#record.mappings();
  }

  map(mapping: Mapping, ram: RamSlice): void {
    this.#messages.map++;
    this.#record.map(mapping, ram);
    this.#host.map(mapping, ram);
  }

  unmap(iova: number, pages: number): void {
    this.#messages.unmap++;
    this.#record.unmap(iova, pages);
    this.#host.unmap(iova, pages);
  }

  whenLost(listener: () => void): void {
    this.#host.whenLost?.(listener);
  }

  barrier(): void | Promise<void> {
    this.#messages.barrier++;
    const refusal = this.#recordsRefusal();
    try {
      const answer = this.#host.barrier();
      if (answer !== undefined) return this.#answered(answer, refusal);
    } catch (error) {
      this.#strike(error);
      throw error;
    }
    if (refusal !== undefined) throw refusal;
  }

  /** What the host says counts for more: it has what the record has to be a copy of. */
  async #answered(answer: Promise<void>, refusal: HostRefusedError | undefined): Promise<void> {
    try {
      await answer;
    } catch (error) {
      this.#strike(error);
      throw error;
    }
    if (refusal !== undefined) throw refusal;
  }

  #recordsRefusal(): HostRefusedError | undefined {
    try {
      this.#record.barrier();
      return undefined;
    } catch (error) {
      if (error instanceof HostRefusedError) return error;
      throw error;
    }
  }

  /** Takes out of the record what was refused; all of it when the host is lost. */
  #strike(error: unknown): void {
    const refused =
      error instanceof HostRefusedError
        ? error.refusals.filter(({ op }) => op === 'map')
        : [...this.#record.mappings()];
    for (const { iova, pages } of refused) {
      if (this.#record.find(iova)?.pages === pages) this.#record.unmap(iova, pages);
    }
  }
}
