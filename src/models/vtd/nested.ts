/** Nested translation (VT-d 3.8): a first stage whose tables and leaves lie behind a second stage. @module */
import {
  type DecodedEntry,
  LeafBatch,
  type LeafVisitor,
  type PlainLeaf,
  TableFormat,
  type TableMemory,
  WalkReport,
} from '../../iommu/index.ts';
import type { PageCursor, PageRange, TranslationFault } from '../../memory/index.ts';
import { translationFault } from './fault.ts';
import { firstStageFormat } from './paging-format.ts';
import type { RemappingState } from './remapping-state.ts';
import type { RequestTranslation, StageTables } from './request-translation.ts';
import * as spec from './spec/index.ts';
import { canonicalStage, firstStage, secondStage, type Stage, translateStage, walkStage } from './stages.ts';

/** Why a page of first-stage tables cannot be reached: a fault is the second stage's own. */
type Obstacle = 'beyond-width' | 'no-permission' | 'not-ram' | TranslationFault;

/** First-stage tables lie at guest-physical addresses that the second stage translates. */
export class NestedTableMemory implements TableMemory {
  /** Why the last `locate` gave false. */
  obstacle: Obstacle = 'not-ram';
  readonly #memory: TableMemory;
  readonly #second: Stage;

  constructor(memory: TableMemory, second: Stage) {
    this.#memory = memory;
    this.#second = second;
  }

  locate(page: number, cursor: PageCursor, forWrite = false): boolean {
    const found = translateStage(this.#second, page);
    const needed = forWrite ? 3 : 1;
    if (found === undefined) this.obstacle = 'beyond-width';
    else if (found.kind === 'fault') this.obstacle = found.fault;
    else if (found.kind === 'not-present' || (found.access & needed) !== needed)
      this.obstacle = 'no-permission';
    else if (this.#memory.locate(found.target + (page - found.iova), cursor, forWrite)) return true;
    else this.obstacle = 'not-ram';
    return false;
  }
}

/** First-stage entries as ever, but why a table cannot be read is the second stage's to say. */
class NestedFirstStageFormat extends TableFormat {
  readonly name = 'VT-d nested first-stage';
  readonly presentMask: number;
  readonly plainLeaves: readonly (PlainLeaf | undefined)[];
  readonly accessInHi: boolean;
  readonly accessShift: number;
  readonly addressMaskHi: number;
  readonly #format: TableFormat;
  readonly #topLevel: number;
  readonly #memory: NestedTableMemory;

  constructor(format: TableFormat, topLevel: number, memory: NestedTableMemory) {
    super();
    this.presentMask = format.presentMask;
    this.plainLeaves = format.plainLeaves;
    this.accessInHi = format.accessInHi;
    this.accessShift = format.accessShift;
    this.addressMaskHi = format.addressMaskHi;
    this.#format = format;
    this.#topLevel = topLevel;
    this.#memory = memory;
  }

  override decode(lo: number, hi: number, level: number, into: DecodedEntry): void {
    this.#format.decode(lo, hi, level, into);
  }

  override outsideRam(level: number): TranslationFault {
    const { obstacle } = this.#memory;
    switch (obstacle) {
      case 'beyond-width':
        return translationFault(spec.SFS_5);
      case 'no-permission':
        return translationFault(level === this.#topLevel ? spec.SFS_6 : spec.SFS_7);
      case 'not-ram':
        return this.#format.outsideRam(level);
      default:
        return obstacle;
    }
  }
}

/** The stages of `translation`; pass-through has none. Nested translation has both. */
export function stagesOf(
  state: RemappingState,
  translation: Exclude<RequestTranslation, { kind: 'fault' | 'pass-through' }>,
): { readonly first: Stage | undefined; readonly second: Stage | undefined } {
  if (translation.kind === 'second-stage') {
    return { first: undefined, second: secondStage(state, translation.secondStage, translation.scalable) };
  }
  if (translation.secondStage === undefined) {
    return { first: firstStage(state, translation.firstStage), second: undefined };
  }
  const second = secondStage(state, translation.secondStage, true);
  return { first: nestedFirstStage(state, translation.firstStage, second), second };
}

function nestedFirstStage(state: RemappingState, tables: StageTables, second: Stage): Stage {
  const memory = new NestedTableMemory(state.memory, second);
  const plain = firstStageFormat(state.capability, state.haw, tables.levels, true);
  return canonicalStage({
    format: new NestedFirstStageFormat(plain, tables.levels, memory),
    memory,
    ...tables,
  });
}

/**
 * Walks first-stage leaves through the second stage: each comes out as the pieces that the second stage makes of it,
 * of which those that overlap `range` are visited. `report` counts the leaves of both stages, so that first-stage
 * leaves that lead nowhere use up the budget too.
 */
export function walkNested(
  first: Stage,
  second: Stage,
  range: PageRange,
  visit: LeafVisitor,
  report: WalkReport,
): boolean {
  const pieces = new PieceWalk(second, range, visit, report);
  return walkStage(first, range, (batch) => pieces.walk(batch), report);
}

class PieceWalk {
  readonly #second: Stage;
  readonly #range: PageRange;
  readonly #visit: LeafVisitor;
  readonly #report: WalkReport;
  /** Of the second stage, whose input pages are not the device's: cost and faults are carried over leaf by leaf. */
  readonly #inner: WalkReport;
  readonly #out = new LeafBatch();
  #iova = 0;
  #middle = 0;
  #pages = 0;
  #allowed = 0;

  constructor(second: Stage, range: PageRange, visit: LeafVisitor, report: WalkReport) {
    this.#second = second;
    this.#range = range;
    this.#visit = visit;
    this.#report = report;
    this.#inner = new WalkReport(report.budget);
  }

  /** Takes leaves of the first stage; false ends the walk. */
  walk(batch: LeafBatch): boolean {
    this.#pages = batch.pages;
    for (let i = 0; i < batch.length; i++) {
      this.#iova = batch.iova[i] ?? 0;
      this.#middle = batch.target[i] ?? 0;
      this.#allowed = batch.access[i] ?? 0;
      if (!this.#walkLeaf()) return false;
    }
    return true;
  }

  #walkLeaf(): boolean {
    const shift = this.#middle - this.#iova;
    const start = Math.max(this.#iova, this.#range.start) + shift;
    const end = Math.min(this.#iova + this.#pages, this.#range.end) + shift;
    const report = this.#report;
    const inner = this.#inner;
    inner.entries = report.entries;
    inner.leaves = report.leaves;
    const goesOn = walkStage(this.#second, { start, end }, (pieces) => this.#give(pieces), inner);
    report.entries = inner.entries;
    report.leaves = inner.leaves;
    if (inner.cutAt !== undefined) report.cutAt = Math.max(inner.cutAt, start) - shift;
    if (inner.faultCount > 0) this.#carryFaults(start, end, shift);
    return goesOn && report.mayGoOn(this.#iova);
  }

  /** What of second-stage leaves lies within the first-stage leaf. */
  #give(pieces: LeafBatch): boolean {
    const out = this.#out;
    const middle = this.#middle;
    for (let i = 0; i < pieces.length; i++) {
      const from = pieces.iova[i] ?? 0;
      const start = Math.max(from, middle);
      const end = Math.min(from + pieces.pages, middle + this.#pages);
      const access = this.#allowed & (pieces.access[i] ?? 0);
      if (access === 0) continue;
      out.length = 0;
      out.pages = end - start;
      out.push(this.#iova + (start - middle), (pieces.target[i] ?? 0) + (start - from), access);
      if (!this.#visit(out)) return false;
    }
    return true;
  }

  #carryFaults(start: number, end: number, shift: number): void {
    const inner = this.#inner;
    const report = this.#report;
    for (const { iova, pages, fault } of inner.faults) {
      const from = Math.max(iova, start);
      report.addFault(from - shift, Math.min(iova + pages, end) - from, fault);
    }
    report.faultCount += inner.faultCount - inner.faults.length;
    inner.faults.length = 0;
    inner.faultCount = 0;
  }
}
