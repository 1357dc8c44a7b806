/** Second-stage entries as a guest's driver reads and writes them (VT-d 9.8). @module */
import { type Access, formatPage } from '../../memory/index.ts';
import { spec } from '../../models/vtd/index.ts';
import { VtdDriverError } from './error.ts';

/** A leaf as it stands in the tables. Page numbers. */
export interface TableLeaf {
  readonly iova: number;
  readonly pages: number;
  readonly target: number;
  /** What the leaf itself allows. */
  readonly access: Access;
}

/** What a change of the tables left to do: an invalidation of `start` to `end`, and then freeing `freed`. */
export interface TableChange {
  /** Hull of the leaves changed and tables taken out; empty (`start` equal to `end`) when there were none. */
  readonly start: number;
  readonly end: number;
  /** Tables taken out. The unit may still read them until the invalidation is complete. */
  readonly freed: readonly number[];
  /** Why a `map` came to nothing: `mapped`, or that no page was left for a table. */
  readonly refused?: unknown;
}

const SPANS: readonly number[] = [0, 1, 2 ** 9, 2 ** 18, 2 ** 27, 2 ** 36];

/** Pages that an entry of a table at `level` (1 to 5) stands for: 1 at level 1. */
export function spanOf(level: number): number {
  return SPANS[level]!;
}

/** Whether a present entry of a table at `level` is a leaf: always at level 1, by PS at levels 2 and 3. */
export function isLeaf(lo: number, level: number): boolean {
  return level === 1 || (level <= 3 && (lo & spec.SS_PS) !== 0);
}

/** The page that an entry points at. */
export function tableOf(lo: number, hi: number): number {
  return spec.pageOf(lo, hi & spec.SS_PAGE_HI);
}

/** The two words of an entry that points at `page`. */
export function entryWords(page: number, bits: number): number[] {
  return [((page << 12) | bits) >>> 0, Math.floor(page / 0x100000)];
}

/** The refusal to map `page` once more. */
export function alreadyMapped(page: number): VtdDriverError {
  return new VtdDriverError('mapped', `${formatPage(page)} is mapped already; unmap it first`);
}
