/**
 * Root and context entries of legacy mode (VT-d 9.1, 9.3) and of scalable mode (VT-d 9.2, 9.4).
 *
 * `reserved` in the layouts holds what is reserved in every unit; bits above the host address width and fields of
 * capabilities that a unit lacks are added by the functions below.
 *
 * @module
 */

import type { Capability } from './capability.ts';
import type { Layout } from '../../layout.ts';
import { aboveHaw, bit, layout, mask } from '../../layout.ts';

/** Root entry: 4 words, one a bus. */
export const ROOT_ENTRY: Layout<'P' | 'CTP'> = layout(128, { P: [0, 0], CTP: [63, 12] }, [
  [11, 1],
  [127, 64],
]);

/** Scalable-mode root entry: 4 words; the lower half serves devices 0 to 15, the upper half devices 16 to 31. */
export const SM_ROOT_ENTRY: Layout<'LP' | 'LCTP' | 'UP' | 'UCTP'> = layout(
  128,
  { LP: [0, 0], LCTP: [63, 12], UP: [64, 64], UCTP: [127, 76] },
  [
    [11, 1],
    [75, 65],
  ],
);

/** Words of a root entry of either mode; a root table is one page of 256. */
export const ROOT_ENTRY_WORDS = 4;

/** Context entry of legacy mode: 4 words. */
export const CONTEXT_ENTRY: Layout<'P' | 'FPD' | 'TT' | 'SSPTPTR' | 'AW' | 'DID'> = layout(
  128,
  { P: [0, 0], FPD: [1, 1], TT: [3, 2], SSPTPTR: [63, 12], AW: [66, 64], DID: [87, 72] },
  [
    [11, 4],
    [71, 71],
    [127, 88],
  ],
  [[70, 67]],
);

/** Words of a legacy context entry; a context table is one page of 256. */
export const CONTEXT_ENTRY_WORDS = 4;

/** TT 00: untranslated requests are translated, all others blocked. */
export const TT_UNTRANSLATED = 0b00;
/** TT 01: every request type, device-TLBs included; needs ECAP.DT. */
export const TT_DEVICE_TLB = 0b01;
/** TT 10: untranslated requests pass through; needs ECAP.PT. */
export const TT_PASS_THROUGH = 0b10;

/** Context entry of scalable mode: 8 words. RID_PASID serves requests without PASID when ECAP.RPS is set. */
export const SM_CONTEXT_ENTRY: Layout<
  'P' | 'FPD' | 'DTE' | 'PASIDE' | 'PRE' | 'PDTS' | 'PASIDDIRPTR' | 'RID_PASID' | 'RID_PRIV'
> = layout(
  256,
  {
    P: [0, 0],
    FPD: [1, 1],
    DTE: [2, 2],
    PASIDE: [3, 3],
    PRE: [4, 4],
    PDTS: [11, 9],
    PASIDDIRPTR: [63, 12],
    RID_PASID: [83, 64],
    RID_PRIV: [84, 84],
  },
  [
    [8, 5],
    [127, 85],
    [255, 128],
  ],
);

/** Words of a scalable-mode context entry; a lower or upper context table is one page of 128. */
export const SM_CONTEXT_ENTRY_WORDS = 8;

/** Word 0 of every structure of this file and of pasid.ts: present. */
export const ENTRY_P: number = bit(0);
/** Word 0 of every context entry, PASID-directory entry and PASID-table entry: Fault Processing Disable. */
export const ENTRY_FPD: number = bit(1);

/** The number of entries of the PASID directory that PDTS (0 to 7) describes. */
export function pasidDirectoryEntries(pdts: number): number {
  return 1 << (pdts + 7);
}

/** Reserved bits of a legacy root entry's words (LRT.3) for a host address width. */
export function rootEntryReserved(haw: number): readonly number[] {
  return withAddress(ROOT_ENTRY.reserved, haw, 1);
}

/** Reserved bits of the two words of one half of a scalable-mode root entry (SRT.3) for a host address width. */
export function smRootHalfReserved(haw: number): readonly number[] {
  return [mask(11, 1), aboveHaw(haw)];
}

/** Reserved bits of a legacy context entry's words (LCT.3) for a host address width. */
export function contextEntryReserved(haw: number): readonly number[] {
  return withAddress(CONTEXT_ENTRY.reserved, haw, 1);
}

/** Reserved bits of a scalable-mode context entry's words (SCT.3) for a unit and its host address width. */
export function smContextEntryReserved(capability: Capability, haw: number): readonly number[] {
  const words = withAddress(SM_CONTEXT_ENTRY.reserved, haw, 1);
  const { DTE, PASIDE, PRE, RID_PASID, RID_PRIV } = SM_CONTEXT_ENTRY.fields;
  let first = words[0];
  if (!capability.DT) first |= DTE.mask;
  if (!capability.PASID) first |= PASIDE.mask;
  if (!capability.PRS) first |= PRE.mask;
  words[0] = first >>> 0;
  let third = words[2];
  if (!capability.RPS) third |= RID_PASID.mask;
  if (!capability.RPRIVS) third |= RID_PRIV.mask;
  words[2] = third >>> 0;
  return words;
}

function withAddress(reserved: readonly number[], haw: number, highWord: number): number[] {
  const words = [...reserved];
  words[highWord] = (words[highWord] | aboveHaw(haw)) >>> 0;
  return words;
}
