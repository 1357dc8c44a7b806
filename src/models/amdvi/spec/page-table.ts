/**
 * Entries of I/O page tables for host translations (AMD-Vi 2.2.3).
 *
 * An entry is two words. NextLevel says what it is: 1 to one below the level of its own table names a table, 0 a page of
 * the level's size, 7 a page whose size is encoded in its address. Level 1 is the table of 4 KiB pages.
 *
 * @module
 */

import { bit, mask, maskInWord } from '../../layout.ts';

/** Word 0: PR, present. */
export const PTE_PR: number = bit(0);
/** Word 0: NextLevel, and its shift. */
export const PTE_NEXT_LEVEL: number = mask(11, 9);
export const PTE_NEXT_LEVEL_SHIFT = 9;
/** Word 0: the low 20 bits of the page number. */
export const PTE_PAGE: number = mask(31, 12);
/** Word 1: bits 51:32 of the address. */
export const PTE_PAGE_HI: number = maskInWord([51, 32], 1);
/** Word 1 of a page: U and FC, how transactions are marked; of no effect on where they go. */
export const PTE_U_HI: number = maskInWord([59, 59], 1);
export const PTE_FC_HI: number = maskInWord([60, 60], 1);
/** Word 1: IR, reads permitted, and IW, writes permitted. Every level's must agree to a request, and the device table entry's. */
export const PTE_IR_HI: number = maskInWord([61, 61], 1);
export const PTE_IW_HI: number = maskInWord([62, 62], 1);
/** Right shift of word 1 that brings IR to bit 0 and IW to bit 1. */
export const PTE_ACCESS_SHIFT_HI = 29;
/** Word 1 of a page: reserved bits. */
export const PTE_RESERVED_HI: number = maskInWord([58, 52], 1);
/** Word 1 of an entry that names a table: reserved bits. */
export const PDE_RESERVED_HI: number = maskInWord([60, 52], 1);

/** NextLevel of a page of its level's size. */
export const NEXT_LEVEL_PAGE = 0;
/** NextLevel of a page whose size is encoded in its address. */
export const NEXT_LEVEL_SIZED = 7;
/** The most levels that tables can have. */
export const TOP_LEVEL = 6;

/**
 * Pages of a leaf with NextLevel 7: 2^(n+1), where address bits 12 to 12+n-1 are ones and bit 12+n is zero (AMD-Vi 2.2.3,
 * Example Page Size Encodings). Undefined for an address without a zero bit.
 *
 * @param lo the entry's word 0
 * @param hi the entry's word 1
 */
export function encodedPages(lo: number, hi: number): number | undefined {
  const low = lowestZero(lo >>> 12);
  if (low < 20) return 2 ** (low + 1);
  const high = lowestZero(hi & PTE_PAGE_HI);
  return high < 20 ? 2 ** (20 + high + 1) : undefined;
}

/** Position of the lowest zero bit; 32 when there is none. */
function lowestZero(word: number): number {
  const zeros = ~word;
  return zeros === 0 ? 32 : 31 - Math.clz32(zeros & -zeros);
}

/**
 * The address field of a leaf with NextLevel 7 for `pages` pages (a power of two, 2 to 2^39) at page `target`, which is
 * aligned to them: what {@link encodedPages} decodes.
 */
export function encodePages(target: number, pages: number): number {
  return target + pages / 2 - 1;
}
