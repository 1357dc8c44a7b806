import type { Attempt } from './attempt.ts';
import type { MemorySection } from './flat-view.ts';

/**
 * Told what an address space shows: everything that exists when it registers, then the exact differences of each
 * commit, removals (descending) before additions (ascending). A section that stays is not mentioned.
 *
 * Callbacks must not throw for anything a guest did. If one throws all the same, the other listeners are still told
 * everything and the commit throws what it gathered when it is over.
 */
export interface MemoryListener {
  /** A section appeared. */
  sectionAdded(section: MemorySection): void;
  /** A section that was told as added is gone. */
  sectionRemoved(section: MemorySection): void;
  /** All differences of this commit have been told. */
  committed?(): void;
  /** Resolves, or returns, when what the listener was told has taken effect outside (a host IOMMU has confirmed). */
  barrier?(): void | Promise<void>;
  /**
   * Opens an attempt: until it is ended, what the listener cannot follow is set aside and noted, and not acted upon. A
   * listener without it acts as always. Must not throw.
   */
  attempt?(): Attempt;
}
