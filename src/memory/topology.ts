import { throwAll } from './throw-all.ts';

/** What an address space asks of the transactions it takes part in. */
export interface Committable {
  /** Recomputes what is shown; returns the errors that listeners threw. */
  commit(): unknown[];
}

/**
 * Groups changes of region trees: listeners of every address space in the topology hear only of the difference
 * between before and after a transaction, so that a switch is never seen half done.
 */
export class MemoryTopology {
  #depth = 0;
  #committing = false;
  readonly #dirty: Set<Committable> = new Set();

  /** Runs `change`; address spaces commit when the outermost transaction ends, also when `change` throws. */
  transaction<T>(change: () => T): T {
    this.#depth++;
    try {
      return change();
    } finally {
      this.#depth--;
      this.#commit();
    }
  }

  /** `space` can see something that changed; it commits now, or when the transaction under way ends. */
  markDirty(space: Committable): void {
    this.#dirty.add(space);
    this.#commit();
  }

  /** Changes made by a listener during a commit are committed after it. */
  #commit(): void {
    if (this.#depth > 0 || this.#committing) return;
    const errors: unknown[] = [];
    this.#committing = true;
    try {
      for (const space of this.#dirty) {
        this.#dirty.delete(space);
        errors.push(...space.commit());
      }
    } finally {
      this.#committing = false;
    }
    throwAll(errors);
  }
}
