/** What a driver's tables are told in: leaves, changes, spans. @module */
import { type Access, formatPage } from '../../memory/index.ts';
import { GuestDriverError } from './error.ts';

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
  /** An entry that led to a table now leads there by way of another: the unit may have cached the old one. */
  readonly relinked: boolean;
  /** Why a `map` came to nothing: `mapped`, or that no page was left for a table. */
  readonly refused?: unknown;
}

const SPANS: readonly number[] = [0, 1, 2 ** 9, 2 ** 18, 2 ** 27, 2 ** 36, 2 ** 45, 2 ** 54];

/** Pages that an entry of a table at `level` (1 to 6) stands for: 1 at level 1. A table's own span is that of `level` + 1. */
export function spanOf(level: number): number {
  return SPANS[level]!;
}

/** Level of the table that a leaf of `pages` pages lies in: the highest whose entries are not larger. */
export function levelOfLeaf(pages: number): number {
  let level = 1;
  while (spanOf(level + 1) <= pages) level++;
  return level;
}

/** The refusal to map `page` once more. */
export function alreadyMapped(page: number): GuestDriverError {
  return new GuestDriverError('mapped', `${formatPage(page)} is mapped already; unmap it first`);
}
