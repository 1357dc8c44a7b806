/** The stages of a translation as tables for the shared walker, with each stage's input range. @module */
import {
  type LeafVisitor,
  type RadixLookup,
  type RadixTable,
  type StepVisitor,
  translateRadix,
  walkRadix,
  type WalkReport,
} from '../../iommu/index.ts';
import { intersect, type PageRange, PAGES_END } from '../../memory/index.ts';
import { firstStageFormat, secondStageFormat } from './paging-format.ts';
import type { RemappingState } from './remapping-state.ts';
import type { StageTables } from './request-translation.ts';
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

/** The first stage that `tables` describes, read from guest-physical memory. */
export function firstStage(state: RemappingState, tables: StageTables): Stage {
  const format = firstStageFormat(state.capability, state.haw, tables.levels, false);
  return canonicalStage({ format, memory: state.memory, ...tables });
}

/**
 * A stage whose input is canonical (VT-d 3.6): entries 0-255 of the top table translate the lower half, entries
 * 256-511 the upper one, which ends at 2^64.
 */
export function canonicalStage(table: Omit<RadixTable, 'base'>): Stage {
  const half = 2 ** (9 * table.levels - 1);
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

/** The reason for a page that no table translates, by the kind of request and stage (VT-d 7.1.3). */
export function beyondWidth(first: boolean, scalable: boolean): ReturnType<typeof translationFault> {
  return translationFault(first ? spec.SGN_1 : scalable ? spec.SGN_5 : spec.LGN_1);
}
