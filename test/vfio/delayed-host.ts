import type { Mapping } from '../../src/iommu/index.ts';
import {
  HostRefusedError,
  type HostIommu,
  type HostIommuLimits,
  type HostRefusal,
  type RamSlice,
} from '../../src/vfio/index.ts';

/**
 * When a barrier answers.
 * - `at-once`: synchronously, as a kernel does.
 * - `later`: at some later time, by itself.
 * - `when-told`: when the test calls `answer()`.
 */
export type Answers = 'at-once' | 'later' | 'when-told';

/**
 * What happens at the call that fails.
 * - `refuse`: a map or unmap is not carried out and reported by the barrier; a barrier is not affected.
 * - `lose`: the operation is dropped, and this or the next barrier fails with another error.
 * - `die`: as `lose`, and so does everything after it.
 * - `throw`: the call itself throws, against the contract.
 */
export type Fault = 'refuse' | 'lose' | 'die' | 'throw';

type Operation =
  | { readonly op: 'map'; readonly mapping: Mapping; readonly ram: RamSlice; readonly refused: boolean }
  | { readonly op: 'unmap'; readonly iova: number; readonly pages: number; readonly refused: boolean };

/**
 * A host on the far side of a queue: operations reach `inner`, which answers at once, in order and when a barrier is answered. The `failAt`th
 * call (from 1) fails; calls are counted over maps, unmaps and barriers.
 */
export class DelayedHostIommu implements HostIommu {
  readonly name: string;
  readonly inner: HostIommu;
  readonly answers: Answers;
  failAt: number;
  fault: Fault;
  /** Calls that fail one after the other. */
  failures = 1;
  calls = 0;
  /** Barriers among the calls. */
  barriers = 0;
  /** Most barriers that were unanswered at one time. */
  mostUnanswered = 0;
  readonly #waiting: (() => void)[] = [];
  #queue: Operation[] = [];
  #lost = false;
  #dead = false;
  #unanswered = 0;

  constructor(
    inner: HostIommu,
    options: { readonly answers?: Answers; readonly failAt?: number; readonly fault?: Fault } = {},
  ) {
    this.inner = inner;
    this.name = `delayed ${inner.name}`;
    this.answers = options.answers ?? 'later';
    this.failAt = options.failAt ?? Number.POSITIVE_INFINITY;
    this.fault = options.fault ?? 'refuse';
  }

  get limits(): HostIommuLimits {
    return this.inner.limits;
  }

  /** Barriers that wait for `answer()`. */
  get unanswered(): number {
    return this.#waiting.length;
  }

  map(mapping: Mapping, ram: RamSlice): void {
    const refused = this.#fails();
    if (this.#lost || this.#dead) return;
    this.#queue.push({ op: 'map', mapping, ram, refused });
  }

  unmap(iova: number, pages: number): void {
    const refused = this.#fails();
    if (this.#lost || this.#dead) return;
    this.#queue.push({ op: 'unmap', iova, pages, refused });
  }

  barrier(): void | Promise<void> {
    this.barriers++;
    this.#fails();
    const operations = this.#queue;
    this.#queue = [];
    const lost = this.#lost || this.#dead;
    this.#lost = false;
    if (this.answers === 'at-once') return this.#carryOut(operations, lost);
    this.#unanswered++;
    this.mostUnanswered = Math.max(this.mostUnanswered, this.#unanswered);
    return this.#told().then(() => {
      this.#unanswered--;
      return this.#carryOut(operations, lost);
    });
  }

  /** Answers the oldest barrier that waits. */
  answer(): void {
    const next = this.#waiting.shift();
    if (next === undefined) throw new Error('no barrier waits for an answer');
    next();
  }

  #told(): Promise<void> {
    if (this.answers === 'when-told') return new Promise((resolve) => this.#waiting.push(resolve));
    return new Promise((resolve) => setImmediate(resolve));
  }

  /** Whether this is a call whose operation is to be refused. */
  #fails(): boolean {
    this.calls++;
    if (this.calls < this.failAt || this.calls >= this.failAt + this.failures) return false;
    if (this.fault === 'refuse') return true;
    if (this.fault === 'throw') throw new Error('the host threw');
    if (this.fault === 'die') this.#dead = true;
    this.#lost = true;
    return false;
  }

  #carryOut(operations: readonly Operation[], lost: boolean): void {
    const refusals: HostRefusal[] = [];
    for (const operation of operations) {
      if (operation.refused) refusals.push(refusalOf(operation));
      else refusals.push(...this.#pass(operation));
    }
    if (lost) throw new Error('the connection broke');
    if (refusals.length > 0) throw new HostRefusedError(refusals);
  }

  /** What `inner` refuses of one operation; asked at once, so that refusals stay in order. */
  #pass(operation: Operation): readonly HostRefusal[] {
    if (operation.op === 'map') this.inner.map(operation.mapping, operation.ram);
    else this.inner.unmap(operation.iova, operation.pages);
    try {
      void this.inner.barrier();
      return [];
    } catch (error) {
      if (!(error instanceof HostRefusedError)) throw error;
      return error.refusals;
    }
  }
}

function refusalOf(operation: Operation): HostRefusal {
  const { iova, pages } = operation.op === 'map' ? operation.mapping : operation;
  return { op: operation.op, iova, pages, errno: 'ENOMEM', reason: 'no memory: free some' };
}
