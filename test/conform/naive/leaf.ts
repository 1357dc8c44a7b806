/** What tables or requests map, and how lists of it are cut. Addresses are page numbers, sizes pages. @module */
import { ledgerLine, MACHINE_RAM, type AccessText, accessOfText } from '../../../src/conform/index.ts';

/** Pages side by side that lead to pages side by side. */
export interface Leaf {
  readonly iova: number;
  readonly pages: number;
  readonly target: number;
  readonly access: AccessText;
}

/** Pages from `start` to `end`, exclusive. */
export interface Pages {
  readonly start: number;
  readonly end: number;
}

export const EVERYTHING: Pages = { start: 0, end: 2 ** 52 };

/** 0xfee00000-0xfeefffff: requests there are interrupts. */
const INTERRUPTS: Pages = { start: 0xf_ee00, end: 0xf_ef00 };

/** All memory at its own address. */
export const RAM: readonly Leaf[] = [MACHINE_RAM.low, MACHINE_RAM.high].map(({ start, pages }) => ({
  iova: start,
  pages,
  target: start,
  access: 'rw',
}));

export function endOf(leaf: Leaf): number {
  return leaf.iova + leaf.pages;
}

export function overlaps(leaf: Leaf, { start, end }: Pages): boolean {
  return leaf.iova < end && endOf(leaf) > start;
}

export function liesIn(leaf: Leaf, { start, end }: Pages): boolean {
  return leaf.iova >= start && endOf(leaf) <= end;
}

export function isSame(a: Leaf, b: Leaf): boolean {
  return a.iova === b.iova && a.pages === b.pages && a.target === b.target && a.access === b.access;
}

/** What of the leaves lies before the interrupt range, and what behind it. */
export function withoutInterrupts(leaves: readonly Leaf[]): Leaf[] {
  return leaves.flatMap((leaf) => [
    ...cut(leaf, 0, INTERRUPTS.start),
    ...cut(leaf, INTERRUPTS.end, EVERYTHING.end),
  ]);
}

/** What of a leaf leads to RAM, in pieces that end where the RAM does. */
export function onRam(leaf: Leaf): Leaf[] {
  const shift = leaf.iova - leaf.target;
  return RAM.flatMap((ram) => cut(leaf, ram.iova + shift, endOf(ram) + shift));
}

export function lineOf({ iova, pages, target, access }: Leaf): string {
  return ledgerLine(iova, pages, target, accessOfText(access));
}

/** The smallest aligned power of two of pages that has all of the `pages` pages at `iova`. */
export function aroundPages(iova: number, pages: number): Pages {
  let size = 1;
  while (Math.floor(iova / size) !== Math.floor((iova + pages - 1) / size)) size *= 2;
  const start = Math.floor(iova / size) * size;
  return { start, end: start + size };
}

/** What of a leaf lies from `start` to `end`: one, or none. */
export function cut(leaf: Leaf, start: number, end: number): Leaf[] {
  const from = Math.max(leaf.iova, start);
  const to = Math.min(endOf(leaf), end);
  return from < to
    ? [{ iova: from, pages: to - from, target: leaf.target + from - leaf.iova, access: leaf.access }]
    : [];
}
