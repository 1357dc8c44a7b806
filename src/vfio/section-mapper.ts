/** How the sections of an address space get into a host. @module */
import type { Mapping } from '../iommu/index.ts';
import type { PageRange } from '../memory/index.ts';
import type { HostQueue } from './host-queue.ts';
import type { LimitGuard } from './limit-guard.ts';
import type { Refusal } from './refusal.ts';
import type { SectionReporter } from './section-reporter.ts';

/** One section of an address space as a host has it. */
export interface SectionMapper {
  /** Sends what the section holds. Why it could not, when it could not; then nothing of it is left. */
  activate(): Refusal | undefined;
  /** Takes back what was sent; nothing when nothing was. */
  deactivate(): void;
  /**
   * The host has not got a mapping that was sent: it is held no more, and no unmap is sent. False when there is none
   * exactly so.
   */
  forget(iova: number, pages: number): boolean;
  /**
   * Sends what is missing of the section's part in `range` (pages of the address space), or of all of it. Why it could
   * not; a refusal may also go to the context's `failed`.
   */
  renew(range: PageRange | undefined): Refusal | undefined;
  /** What was sent and not taken back, ascending, in pages of the address space. */
  mappings(): Iterable<Mapping>;
  /** The one of {@link mappings} that covers `page` of the address space. */
  find(page: number): Mapping | undefined;
}

/** What mappers share. */
export interface MapperContext {
  readonly queue: HostQueue;
  readonly guard: LimitGuard;
  readonly reporter: SectionReporter;
  /** A change of `mapper`'s section could not be followed. */
  failed(refusal: Refusal, mapper: SectionMapper): void;
  barrier(): void | Promise<void>;
}
