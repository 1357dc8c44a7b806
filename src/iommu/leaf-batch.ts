/** Leaves in bulk, as a walk hands them out. @module */
import type { Access } from '../memory/index.ts';

/** Most leaves in one batch: those of one table. */
export const BATCH_LEAVES = 512;

/**
 * Up to 512 leaves of one size, ascending. A walk fills one batch again and again and lends it to its visitor for the
 * length of the call: a call per table instead of a call per leaf keeps the visitor's own loop monomorphic and is what
 * makes an unchanged reconcile cost little more than the scan itself.
 */
export class LeafBatch {
  /** First page of each leaf. */
  readonly iova: Float64Array = new Float64Array(BATCH_LEAVES);
  /** Page in the target address space of each leaf. */
  readonly target: Float64Array = new Float64Array(BATCH_LEAVES);
  /** {@link Access} of each leaf, never `None`. */
  readonly access: Uint8Array = new Uint8Array(BATCH_LEAVES);
  /** Pages of every leaf in the batch. */
  pages = 1;
  /** Leaves in the batch. */
  length = 0;

  /** Appends a leaf; the caller has made sure that there is room and that its size is the batch's. */
  push(iova: number, target: number, access: number): void {
    this.iova[this.length] = iova;
    this.target[this.length] = target;
    this.access[this.length] = access;
    this.length++;
  }
}

const spare: LeafBatch[] = [];

/** Runs `use` with an empty batch. Batches are kept for the next walk: a walk of one page must not pay for 512 leaves. */
export function withBatch<T>(use: (batch: LeafBatch) => T): T {
  const batch = spare.pop() ?? new LeafBatch();
  try {
    return use(batch);
  } finally {
    batch.length = 0;
    spare.push(batch);
  }
}

/** Sees each batch of a walk, ascending; returns false to end the walk. The batch is the walk's and is reused. */
export type LeafVisitor = (batch: LeafBatch) => boolean;

/** One leaf of the guest's tables, or one run of them: page numbers. */
export interface Mapping {
  /** First page in the device's address space. */
  readonly iova: number;
  /** Pages, at least 1. */
  readonly pages: number;
  /** Page in the target address space at which `iova` lies. */
  readonly target: number;
  readonly access: Access;
}
