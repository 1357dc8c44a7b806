/** Where things lie in the guests that are made up here. @module */
import type { Span } from '../naive/domain.ts';
import type { Place, Target } from './steps.ts';

/** A region of guest-physical memory. */
export interface LayoutRegion {
  readonly name: string;
  readonly kind: 'ram' | 'rom' | 'device';
  readonly start: number;
  readonly pages: number;
}

export const EVERY_PAGE: Span = { start: 0, end: 2 ** 52 };

/** RAM that the driver takes its tables from; nothing is ever written to it by a device. */
export const TABLES: Span = { start: 0x8000, end: 0xc000 };

/** Memory of a device, which other devices can reach. */
export const BAR: Span = { start: 0x3100, end: 0x3110 };

/** What is always there. */
export const FIXED: readonly LayoutRegion[] = [
  { name: 'low', kind: 'ram', start: 0, pages: 0x10c0 },
  { name: 'ROM', kind: 'rom', start: 0x3000, pages: 0x100 },
  { name: 'BAR', kind: 'device', start: BAR.start, pages: BAR.end - BAR.start },
  { name: 'tables', kind: 'ram', start: TABLES.start, pages: TABLES.end - TABLES.start },
];

/** What comes and goes. */
export const LOOSE: readonly LayoutRegion[] = [
  { name: 'neighbour', kind: 'ram', start: 0x10c0, pages: 0x1700 },
  { name: 'odd', kind: 'ram', start: 0x3200, pages: 0x605 },
  { name: 'high', kind: 'ram', start: 0x10_0000, pages: 0x8_0000 },
];

/** Pages near which something about guest memory changes. */
const REMARKABLE = [
  0, 0x800, 0x1000, 0x10c0, 0x2700, 0x27c0, 0x3000, 0x3200, 0x3805, 0x4000, 0x10_0000, 0x14_0000,
] as const;

/** The page that a target means for a mapping at `iova`. */
export function targetOf({ near, offset, fits }: Target, iova: number): number {
  const page = Math.max(0, (REMARKABLE[near % REMARKABLE.length] ?? 0) + offset);
  return fits ? Math.floor(page / 512) * 512 + (iova % 512) : page;
}

/**
 * The page that a place means for tables that translate up to `end`: at address 0, around the interrupt range, at the
 * end, or across 1 GiB entries.
 */
export function pageAt({ window, slot, page }: Place, end: number): number {
  const inSlot = slot * 512 + page;
  switch (window % 4) {
    case 0:
      return inSlot;
    case 1:
      return 0xfec00 + inSlot;
    case 2:
      return end - 2048 + inSlot;
    default:
      return (slot % 2 === 0 ? 0x8_0000 : 0xc_0000) + page;
  }
}
