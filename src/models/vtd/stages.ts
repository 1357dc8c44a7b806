/** The stages of a translation as tables for the shared walker, with each stage's input range. @module */
import {
  LeafBatch,
  type LeafVisitor,
  type RadixLookup,
  type RadixTable,
  type StepVisitor,
  type TableMemory,
  translateRadix,
  walkRadix,
  type WalkReport,
} from '../../iommu/index.ts';
import { intersect, type PageCursor, type PageRange, PAGES_END } from '../../memory/index.ts';
import { firstStageFormat, secondStageFormat } from './paging-format.ts';
import type { RemappingState } from './remapping-state.ts';
import type { RequestTranslation, StageTables } from './request-translation.ts';
import { translationFault } from './fault.ts';
import * as spec from './spec/index.ts';

/** Tables that translate the pages of `range`, and nothing else. */
export interface StageRange {
  readonly range: PageRange;
  readonly table: RadixTable;
}

/** A stage: one range of input pages, or, with canonical addresses, a lower and an upper one. */
export type Stage = readonly StageRange[];

/** The second stage that `tables` describes. Its input is limited by AW and by MGAW (VT-d 3.7). */
export function secondStage(state: RemappingState, tables: StageTables, scalable: boolean): Stage {
  const { capability, haw, memory } = state;
  const width = Math.min(spec.adjustedWidth(tables.levels), capability.MGAW);
  const format = secondStageFormat(capability, haw, tables.levels, scalable);
  return [{ range: { start: 0, end: 2 ** (width - 12) }, table: { format, memory, ...tables, base: 0 } }];
}

/**
 * The first stage that `tables` describes, read through `memory`. Its input is canonical (VT-d 3.6): entries 0-255 of
 * the top table translate the lower half, entries 256-511 the upper one, which ends at 2^64. Nested tables are read
 * through a memory of their own: {@link NestedTableMemory}.
 */
export function firstStage(
  state: RemappingState,
  tables: StageTables,
  memory: TableMemory = state.memory,
): Stage {
  const nested = memory !== state.memory;
  const format = firstStageFormat(state.capability, state.haw, tables.levels, nested);
  const half = 2 ** (9 * tables.levels - 1);
  const table = { format, memory, ...tables };
  return [
    { range: { start: 0, end: half }, table: { ...table, base: 0 } },
    { range: { start: PAGES_END - half, end: PAGES_END }, table: { ...table, base: PAGES_END - 2 * half } },
  ];
}

/** Walks a stage: see `walkRadix`. Input outside the stage's ranges is skipped. */
export function walkStage(stage: Stage, range: PageRange, visit: LeafVisitor, report: WalkReport): boolean {
  for (const part of stage) {
    const wanted = intersect(range, part.range);
    if (wanted !== undefined && !walkRadix(part.table, wanted, visit, report)) return false;
  }
  return true;
}

/** Translates one page by a stage; undefined when it is outside the stage's ranges. */
export function translateStage(stage: Stage, page: number, visit?: StepVisitor): RadixLookup | undefined {
  const part = stage.find(({ range }) => page >= range.start && page < range.end);
  return part === undefined ? undefined : translateRadix(part.table, page, visit);
}

/** First-stage tables of a nested translation lie at guest-physical addresses that the second stage translates (VT-d 3.8). */
export class NestedTableMemory implements TableMemory {
  readonly #memory: TableMemory;
  readonly #second: Stage;

  constructor(memory: TableMemory, second: Stage) {
    this.#memory = memory;
    this.#second = second;
  }

  locate(page: number, cursor: PageCursor, forWrite = false): boolean {
    const found = translateStage(this.#second, page);
    if (found?.kind !== 'leaf' || (found.access & 1) === 0 || (forWrite && (found.access & 2) === 0)) return false;
    return this.#memory.locate(found.target + (page - found.iova), cursor, forWrite);
  }
}

/** Walks first-stage leaves through the second stage: each comes out as the pieces that the second stage makes of it. */
export function walkNested(
  first: Stage,
  second: Stage,
  range: PageRange,
  visit: LeafVisitor,
  report: WalkReport,
): boolean {
  const out = new LeafBatch();
  return walkStage(
    first,
    range,
    (batch) => {
      for (let i = 0; i < batch.length; i++) {
        const iova = batch.iova[i] ?? 0;
        const middle = batch.target[i] ?? 0;
        const allowed = batch.access[i] ?? 0;
        const through = { start: middle, end: middle + batch.pages };
        const goesOn = walkStage(
          second,
          through,
          (pieces) => {
            for (let j = 0; j < pieces.length; j++) {
              const start = Math.max(pieces.iova[j] ?? 0, through.start);
              const end = Math.min((pieces.iova[j] ?? 0) + pieces.pages, through.end);
              const access = allowed & (pieces.access[j] ?? 0);
              if (access === 0 || start >= end) continue;
              out.length = 0;
              out.pages = end - start;
              out.push(iova + (start - middle), (pieces.target[j] ?? 0) + (start - (pieces.iova[j] ?? 0)), access);
              if (!visit(out)) return false;
            }
            return true;
          },
          report,
        );
        if (!goesOn) return false;
      }
      return true;
    },
    report,
  );
}

/** The stages of `translation`; pass-through has none. */
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
  const nested = new NestedTableMemory(state.memory, second);
  return { first: firstStage(state, translation.firstStage, nested), second };
}

/** The reason for a page that no table translates, by the kind of request and stage (VT-d 7.1.3). */
export function beyondWidth(first: boolean, scalable: boolean): ReturnType<typeof translationFault> {
  return translationFault(first ? spec.SGN_1 : scalable ? spec.SGN_5 : spec.LGN_1);
}
