/**
 * PASID directory and PASID table of scalable mode (VT-d 9.5, 9.6).
 *
 * @module
 */

import type { Capability } from './capability.ts';
import type { Layout } from '../../layout.ts';
import { aboveHaw, layout, mask } from '../../layout.ts';

/** PASID-directory entry: 2 words, selected by PASID bits 19:6. */
export const PASID_DIRECTORY_ENTRY: Layout<'P' | 'FPD' | 'SMPTBLPTR'> = layout(
  64,
  { P: [0, 0], FPD: [1, 1], SMPTBLPTR: [63, 12] },
  [[11, 2]],
);

/** Words of a PASID-directory entry. */
export const PASID_DIRECTORY_ENTRY_WORDS = 2;
/** Words of a PASID-table entry. */
export const PASID_TABLE_ENTRY_WORDS = 16;
/** Entries of a PASID table, which is one page. */
export const PASID_TABLE_ENTRIES = 64;
/** log2 of PASID_TABLE_ENTRIES: how far a PASID is shifted to index the directory. */
export const PASID_TABLE_SHIFT = 6;
/** PASIDs have 20 bits. */
export const PASID_END: number = 2 ** 20;

/**
 * PASID-table entry: 16 words, selected by PASID bits 5:0. Bits 134:133 (formerly NXE and SMEP) are ignored so that
 * older software works; bit 5 (SLEE) and bit 129 (ERE) belonged to execute requests and are reserved.
 */
export const PASID_TABLE_ENTRY: Layout<
  | 'P'
  | 'FPD'
  | 'AW'
  | 'PGTT'
  | 'SSADE'
  | 'SSPTPTR'
  | 'DID'
  | 'PWSNP'
  | 'PGSNP'
  | 'CD'
  | 'EMTE'
  | 'PAT'
  | 'SRE'
  | 'FSPM'
  | 'WPE'
  | 'EAFE'
  | 'FSPTPTR'
> = layout(
  512,
  {
    P: [0, 0],
    FPD: [1, 1],
    AW: [4, 2],
    PGTT: [8, 6],
    SSADE: [9, 9],
    SSPTPTR: [63, 12],
    DID: [79, 64],
    PWSNP: [87, 87],
    PGSNP: [88, 88],
    CD: [89, 89],
    EMTE: [90, 90],
    PAT: [127, 96],
    SRE: [128, 128],
    FSPM: [131, 130],
    WPE: [132, 132],
    EAFE: [135, 135],
    FSPTPTR: [191, 140],
  },
  [
    [5, 5],
    [11, 10],
    [86, 80],
    [95, 91],
    [129, 129],
    [139, 136],
    [511, 192],
  ],
  [[134, 133]],
);

/** PGTT 001: first-stage tables alone; needs ECAP.FSTS. */
export const PGTT_FIRST_STAGE = 0b001;
/** PGTT 010: second-stage tables alone; needs ECAP.SSTS. */
export const PGTT_SECOND_STAGE = 0b010;
/** PGTT 011: first-stage tables whose addresses the second stage translates; needs ECAP.NEST. */
export const PGTT_NESTED = 0b011;
/** PGTT 100: the address passes through; needs ECAP.PT. */
export const PGTT_PASS_THROUGH = 0b100;

/** FSPM 00: 4-level first-stage tables. */
export const FSPM_4_LEVEL = 0b00;
/** FSPM 01: 5-level first-stage tables; needs CAP.FS5LP. The other encodings are reserved. */
export const FSPM_5_LEVEL = 0b01;

/** Levels of first-stage tables for an FSPM value, or 0 when the unit does not offer it (SPT.4). */
export function firstStageLevels(fspm: number, capability: Capability): number {
  if (fspm === FSPM_4_LEVEL) return 4;
  return fspm === FSPM_5_LEVEL && capability.FS5LP ? 5 : 0;
}

/** Whether the unit offers the translation type PGTT (otherwise SPT.4). */
export function supportsPgtt(pgtt: number, capability: Capability): boolean {
  switch (pgtt) {
    case PGTT_FIRST_STAGE:
      return capability.FSTS;
    case PGTT_SECOND_STAGE:
      return capability.SSTS;
    case PGTT_NESTED:
      return capability.NEST && capability.FSTS && capability.SSTS;
    case PGTT_PASS_THROUGH:
      return capability.PT;
    default:
      return false;
  }
}

/** Reserved bits of a PASID-directory entry's words (SPD.3) for a host address width. */
export function pasidDirectoryEntryReserved(haw: number): readonly number[] {
  return [PASID_DIRECTORY_ENTRY.reserved[0], aboveHaw(haw)];
}

/**
 * Reserved bits of a PASID-table entry's words (SPT.3) for a unit and its host address width. Fields of capabilities
 * that the unit lacks are reserved whatever PGTT says. In a nested entry FSPTPTR is a guest-physical address: pass
 * `nested`, and bits above the host address width are left to the second stage.
 */
export function pasidTableEntryReserved(
  capability: Capability,
  haw: number,
  nested = false,
): readonly number[] {
  const words = [...PASID_TABLE_ENTRY.reserved];
  const field = PASID_TABLE_ENTRY.fields;
  const page = mask(31, 12);
  const add = (word: number, bits: number): void => {
    words[word] = (words[word] | bits) >>> 0;
  };
  add(1, aboveHaw(haw));
  if (!capability.SSTS) {
    // AW would be reserved here too, but Linux sets it in every entry, so it counts as ignored.
    add(0, page);
    add(1, 0xffffffff);
  }
  if (!capability.SSADS) add(0, field.SSADE.mask);
  if (!capability.SMPWCS) add(2, field.PWSNP.mask);
  if (!capability.SC) add(2, field.PGSNP.mask);
  if (!capability.MTS) {
    add(2, field.CD.mask | field.EMTE.mask);
    add(3, field.PAT.mask);
  }
  if (!nested) add(5, aboveHaw(haw));
  if (!capability.SRS) add(4, field.SRE.mask);
  if (!capability.EAFS) add(4, field.EAFE.mask);
  if (!capability.FSTS) {
    add(4, field.FSPM.mask | field.WPE.mask | page);
    add(5, 0xffffffff);
  }
  return words;
}
