/** Neighbouring leaves as people read them: one line a run, and how many there are of which kind. @module */
import type { Mapping } from '../iommu/index.ts';

/** Leaves of one permission that continue each other in both address spaces. */
export interface MappingRun {
  readonly iova: number;
  readonly pages: number;
  readonly target: number;
  readonly access: number;
  /** Leaves in it. */
  readonly leaves: number;
}

/** Leaves of one size and permission. */
export interface LeafCount {
  readonly pages: number;
  readonly access: number;
  readonly count: number;
}

/** Takes leaves in ascending order, hands out runs as they end, and counts. */
export class RunCollector {
  /** Leaves taken. */
  leaves = 0;
  /** Runs handed out. */
  runs = 0;
  /** Pages in all leaves. */
  pages = 0;
  readonly #counts: Map<number, { pages: number; access: number; count: number }> = new Map();
  readonly #emit: (run: MappingRun) => void;
  #run: { iova: number; pages: number; target: number; access: number; leaves: number } | undefined;

  constructor(emit: (run: MappingRun) => void) {
    this.#emit = emit;
  }

  push(leaf: Mapping): void {
    this.leaves++;
    this.pages += leaf.pages;
    this.#count(leaf);
    const run = this.#run;
    if (
      run !== undefined &&
      run.iova + run.pages === leaf.iova &&
      run.target + run.pages === leaf.target &&
      run.access === leaf.access
    ) {
      run.pages += leaf.pages;
      run.leaves++;
      return;
    }
    this.finish();
    this.#run = { ...leaf, leaves: 1 };
  }

  /** Hands out the run that waits for its next leaf. */
  finish(): void {
    if (this.#run === undefined) return;
    this.runs++;
    this.#emit(this.#run);
    this.#run = undefined;
  }

  /** By size, then permission. */
  counts(): LeafCount[] {
    return [...this.#counts.values()].sort((a, b) => a.pages - b.pages || a.access - b.access);
  }

  #count({ pages, access }: Mapping): void {
    const key = pages * 4 + access;
    const known = this.#counts.get(key);
    if (known === undefined) this.#counts.set(key, { pages, access, count: 1 });
    else known.count++;
  }
}
