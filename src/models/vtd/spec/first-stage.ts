/**
 * First-stage paging entries (VT-d 3.6, 9.7): the processor's 4-level and 5-level format.
 *
 * An entry is two words. Level 1 is the table of 4 KiB leaves; levels 2 and 3 hold tables or, with PS, 2 MiB and 1 GiB
 * leaves; levels 4 and 5 hold tables. Input addresses are canonical: bits 63:47 (or 63:56) are all equal.
 *
 * @module
 */

import { aboveHaw, bit, mask, maskInWord } from '../../layout.ts';
import type { PagingReserved } from './second-stage.ts';

/** Word 0: P, present. */
export const FS_P: number = bit(0);
/** Word 0: R/W, writes permitted. */
export const FS_RW: number = bit(1);
/** Word 0: U/S, user requests permitted; every request is a user request unless it asks for privilege. */
export const FS_US: number = bit(2);
/** Word 0: A, set by hardware in every entry it uses. */
export const FS_A: number = bit(5);
/** Word 0: D, set by hardware in a leaf it writes through. */
export const FS_D: number = bit(6);
/** Word 0: PS, a leaf at level 2 or 3. */
export const FS_PS: number = bit(7);
/** Word 0: EA, like A while EAFE is set; ignored otherwise. */
export const FS_EA: number = bit(10);
/** Word 1: XD; execute requests are retired, so it is ignored. */
export const FS_XD_HI: number = bit(31);
/** Word 0: the low 20 bits of the page number. */
export const FS_PAGE: number = mask(31, 12);
/** Word 1: bits 51:32 of the address. */
export const FS_PAGE_HI: number = mask(19, 0);

/** What decides which bits of a first-stage entry are reserved. */
export interface FirstStageRules {
  /**
   * Host address width in bits, 32 to 52: address bits above it are reserved. In nested translation the addresses are
   * guest-physical and the second stage judges them.
   */
  readonly haw: number;
  /** CAP_REG.FS1GP: PS may be set at level 3. */
  readonly FS1GP: boolean;
}

/**
 * Reserved bits of first-stage entries by level, 1 to 5 (index 0 is unused): a present entry with one of them set is
 * SFS.3. Leaves of 2 MiB and 1 GiB keep bit 12 for memory types, so only the bits above it must be zero.
 */
export function firstStageReserved(rules: FirstStageRules): PagingReserved {
  const tableLo: number[] = [0];
  const tableHi: number[] = [0];
  const leafLo: number[] = [0];
  const leafHi: number[] = [0];
  const high = (aboveHaw(rules.haw) & FS_PAGE_HI) >>> 0;
  for (let level = 1; level <= 5; level++) {
    const offered = level <= 2 || (level === 3 && rules.FS1GP);
    tableLo.push(FS_PS);
    tableHi.push(high);
    const aligned = level === 2 || level === 3 ? maskInWord([11 + 9 * (level - 1), 13], 0) : 0;
    leafLo.push(offered ? aligned : 0xffffffff);
    leafHi.push(high);
  }
  return { tableLo, tableHi, leafLo, leafHi };
}
