import { pagesOfText, type SinkLimits, type Slot } from '../../../src/conform/index.ts';
import type { Mapping } from '../../../src/iommu/index.ts';
import { formatPage, PAGES_END } from '../../../src/memory/index.ts';
import {
  HostRefusedError,
  type HostIommu,
  type HostIommuLimits,
  type HostRefusal,
  MemoryHostIommu,
  type RamSlice,
} from '../../../src/vfio/index.ts';
import type { FaultKind, FaultPlan } from './fault-plan.ts';

/**
 * When a host carries out what it was asked for, and answers.
 * - `at-once`: synchronously, as a kernel does.
 * - `soon`: when a barrier asks, and before anything else that is on its way.
 * - `later`: when a barrier asks, after that.
 */
export type Answers = 'at-once' | 'soon' | 'later';

type Operation =
  | { readonly op: 'map'; readonly mapping: Mapping; readonly ram: RamSlice; readonly refused: boolean }
  | { readonly op: 'unmap'; readonly iova: number; readonly pages: number; readonly refused: boolean };

/** A host that fails where a plan says so, and holds whoever uses it to maps that overlap nothing and to exact unmaps. */
export class FaultyHost implements HostIommu {
  readonly name: string;
  readonly limits: HostIommuLimits;
  readonly holds: MemoryHostIommu;
  /** What was mapped since this was last emptied. */
  readonly taken: Mapping[] = [];
  readonly reopen?: () => Promise<void>;
  readonly #plan: FaultPlan;
  readonly #slot: Slot;
  readonly #answers: Answers;
  #queue: Operation[] = [];
  #refusals: HostRefusal[] = [];
  /** First pages of mappings that were refused: an unmap may be on its way to them. */
  readonly #refused: Set<number> = new Set();
  /** The next barrier fails. */
  #losing = false;
  #dead = false;
  /** A failure has left open what it holds. */
  #lost = false;
  #retired = false;

  constructor(slot: Slot, sink: SinkLimits, plan: FaultPlan, answers: Answers, reopens: boolean) {
    this.name = `host of ${slot}`;
    this.#slot = slot;
    this.#plan = plan;
    this.#answers = answers;
    const maxMappings = sink.maxMappings ?? PAGES_END;
    const end = sink.end === undefined ? PAGES_END : pagesOfText(sink.end);
    // Its unmaps are the lenient ones, so that a map over what is there is refused whatever it is.
    this.holds = new MemoryHostIommu({ strictness: 'type1', maxMappings, apertures: [{ start: 0, end }] });
    const { pageSizes, apertures, atomicReplace } = this.holds.limits;
    this.limits = {
      pageSizes,
      apertures,
      atomicReplace,
      unmap: 'exact',
      get maxMappings() {
        return plan.isFull(slot) ? 0 : maxMappings;
      },
    };
    if (reopens) this.reopen = () => this.#begin();
  }

  /** Whether a failure has left open what it holds. */
  get lost(): boolean {
    return this.#lost;
  }

  /** Its device is gone: nobody may ask for anything any more. */
  retire(): void {
    this.#retired = true;
  }

  map(mapping: Mapping, ram: RamSlice): void {
    const kind = this.#take('map');
    if (kind === undefined || kind === 'refuse')
      this.#do({ op: 'map', mapping, ram, refused: kind === 'refuse' });
  }

  unmap(iova: number, pages: number): void {
    const kind = this.#take('unmap');
    if (kind === undefined || kind === 'refuse')
      this.#do({ op: 'unmap', iova, pages, refused: kind === 'refuse' });
  }

  barrier(): void | Promise<void> {
    this.#take('barrier');
    const operations = this.#queue;
    this.#queue = [];
    const failing = this.#losing || this.#dead;
    this.#losing = false;
    switch (this.#answers) {
      case 'at-once':
        return this.#answer(operations, failing);
      case 'soon':
        return Promise.resolve().then(() => this.#answer(operations, failing));
      case 'later':
        return new Promise((resolve) => setImmediate(resolve)).then(() => this.#answer(operations, failing));
    }
  }

  #begin(): Promise<void> {
    this.#queue = [];
    this.#refusals = [];
    this.#refused.clear();
    this.#losing = false;
    this.#dead = false;
    this.#lost = false;
    const held = [...this.holds.mappings()];
    for (const { iova, pages } of held) this.holds.unmap(iova, pages);
    return Promise.resolve();
  }

  /** How the call fails; what throws does so here. */
  #take(of: 'map' | 'unmap' | 'barrier'): FaultKind | undefined {
    if (this.#retired) this.#plan.violations.push(`${this.name}: ${of} when its device was gone`);
    const kind = this.#plan.take(of, this.#slot);
    if (kind === undefined) return this.#dead ? 'die' : undefined;
    if (kind === 'die') this.#dead = true;
    if (kind === 'lose') this.#losing = true;
    if (kind !== 'refuse' || of === 'unmap') this.#lost = true;
    if (kind === 'throw') throw new Error(`${this.name} threw`);
    return kind;
  }

  #do(operation: Operation): void {
    if (this.#answers === 'at-once') this.#carryOut(operation);
    else this.#queue.push(operation);
  }

  #answer(operations: readonly Operation[], failing: boolean): void {
    for (const operation of operations) this.#carryOut(operation);
    const refusals = this.#refusals;
    this.#refusals = [];
    if (failing) throw new Error(`the connection to ${this.name} broke`);
    if (refusals.length > 0) throw new HostRefusedError(refusals);
    this.#refused.clear();
  }

  #carryOut(operation: Operation): void {
    const { op, refused } = operation;
    const { iova, pages } = op === 'map' ? operation.mapping : operation;
    if (refused) {
      if (op === 'map') this.#refused.add(iova);
      this.#refusals.push({ op, iova, pages, errno: 'ENOMEM', reason: 'no memory: free some' });
      return;
    }
    if (op === 'unmap' && !this.#isExact(iova, pages)) return;
    if (op === 'map') {
      this.holds.map(operation.mapping, operation.ram);
      this.taken.push(operation.mapping);
    } else {
      this.holds.unmap(iova, pages);
    }
    try {
      this.holds.barrier();
    } catch (error) {
      if (!(error instanceof HostRefusedError)) throw error;
      this.#refusals.push(...error.refusals);
      this.#violate(error.message);
    }
  }

  /** An unmap that was on its way to a mapping when that was refused finds nothing. */
  #isExact(iova: number, pages: number): boolean {
    const held = this.holds.find(iova);
    if (held?.iova === iova && held.pages === pages) return true;
    this.#refusals.push({ op: 'unmap', iova, pages, errno: 'ENOENT', reason: 'unmap what was mapped' });
    if (!this.#refused.delete(iova)) this.#violate(`${pages} pages at ${formatPage(iova)} were unmapped`);
    return false;
  }

  #violate(what: string): void {
    if (!this.#lost) this.#plan.violations.push(`${this.name}: ${what}`);
  }
}
