/**
 * Second-stage paging entries (VT-d 3.7, 9.8): the same format in legacy mode, scalable mode and nested translation.
 *
 * An entry is two words. Level 1 is the table of 4 KiB leaves; levels 2 and 3 hold tables or, with PS, 2 MiB and 1 GiB
 * leaves; levels 4 and 5 hold tables. An entry is present when R or W is set; every level's R and W must agree to a
 * request.
 *
 * @module
 */

import { SSLPS_1G, SSLPS_2M } from './capability.ts';
import { aboveHaw, bit, mask, maskInWord } from '../../layout.ts';

/** Word 0: R, reads permitted. */
export const SS_R: number = bit(0);
/** Word 0: W, writes permitted. */
export const SS_W: number = bit(1);
/** Word 0: present when either bit is set. */
export const SS_PRESENT: number = mask(1, 0);
/** Word 0: X of tables shared with a processor; ignored. */
export const SS_X: number = bit(2);
/** Word 0: PS, a leaf at level 2 or 3. */
export const SS_PS: number = bit(7);
/** Word 0: A, set by hardware in every entry it uses while SSADE is set; ignored otherwise. */
export const SS_A: number = bit(8);
/** Word 0: D, set by hardware in a leaf it writes through while SSADE is set; ignored otherwise. */
export const SS_D: number = bit(9);
/** Word 0 of a leaf: SNP, snoop; reserved without ECAP.SC. */
export const SS_SNP: number = bit(11);
/** Word 1: TM, a hint for device-TLBs in earlier revisions, now reserved. */
export const SS_TM_HI: number = bit(30);
/** Word 0: the low 20 bits of the page number. */
export const SS_PAGE: number = mask(31, 12);
/** Word 1: bits 51:32 of the address. */
export const SS_PAGE_HI: number = mask(19, 0);

/** What decides which bits of a paging entry are reserved. */
export interface SecondStageRules {
  /** Host address width in bits, 32 to 52: address bits above it are reserved. */
  readonly haw: number;
  /** CAP_REG.SSLPS: PS is reserved at a level whose page size is not offered. */
  readonly SSLPS: number;
  /** ECAP_REG.SC: SNP may be set in leaves. */
  readonly SC: boolean;
  /** Whether TM may be set in leaves, as units with device-TLBs allowed in earlier revisions. */
  readonly TM?: boolean;
}

/**
 * Reserved bits of second-stage entries by level, 1 to 5 (index 0 is unused): a present entry with one of them set is
 * LSS.2 or SSS.3. An entry is a leaf at level 1, or at levels 2 and 3 when PS is set.
 */
export interface PagingReserved {
  /** Word 0 of an entry that names a table. */
  readonly tableLo: readonly number[];
  /** Word 1 of an entry that names a table. */
  readonly tableHi: readonly number[];
  /** Word 0 of a leaf; all ones, PS included, where a leaf of that size cannot be. */
  readonly leafLo: readonly number[];
  /** Word 1 of a leaf. */
  readonly leafHi: readonly number[];
}

/** Builds the reserved masks of second-stage entries (VT-d 9.8). */
export function secondStageReserved(rules: SecondStageRules): PagingReserved {
  const tableLo: number[] = [0];
  const tableHi: number[] = [0];
  const leafLo: number[] = [0];
  const leafHi: number[] = [0];
  const high = (SS_TM_HI | (aboveHaw(rules.haw) & SS_PAGE_HI)) >>> 0;
  const leafHigh = rules.TM === true ? (high & ~SS_TM_HI) >>> 0 : high;
  for (let level = 1; level <= 5; level++) {
    const offered =
      level === 1 ||
      (level === 2 && (rules.SSLPS & SSLPS_2M) !== 0) ||
      (level === 3 && (rules.SSLPS & SSLPS_1G) !== 0);
    tableLo.push((SS_SNP | SS_PS) >>> 0);
    tableHi.push(high);
    leafLo.push(offered ? (alignment(level) | (rules.SC ? 0 : SS_SNP)) >>> 0 : 0xffffffff);
    leafHi.push(leafHigh);
  }
  return { tableLo, tableHi, leafLo, leafHi };
}

/** Address bits of word 0 that a leaf at `level` (1 to 3) must leave zero: 20:12 at level 2, 29:12 at level 3. */
function alignment(level: number): number {
  return level === 1 || level > 3 ? 0 : maskInWord([11 + 9 * (level - 1), 12], 0);
}
