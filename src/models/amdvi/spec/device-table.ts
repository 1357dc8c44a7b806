/**
 * Device table entries (AMD-Vi 2.2.2.1): 256 bits, one a DeviceID, which is a requester ID.
 *
 * @module
 */

import { bit, type Layout, layout } from '../../layout.ts';
import type { Capability } from './capability.ts';

/** Device table entry: 8 words. Guest CR3 table pointers and attributes that do not matter to DMA remapping are left out. */
export const DEVICE_TABLE_ENTRY: Layout<
  | 'V'
  | 'TV'
  | 'HAD'
  | 'Mode'
  | 'HostPageTableRootPtr'
  | 'PPR'
  | 'GPRP'
  | 'GIoV'
  | 'GV'
  | 'GLX'
  | 'IR'
  | 'IW'
  | 'DomainID'
  | 'I'
  | 'SE'
  | 'SA'
  | 'IoCtl'
  | 'Cache'
  | 'SD'
  | 'EX'
  | 'SysMgt'
  | 'IV'
  | 'IntTabLen'
  | 'IG'
  | 'InterruptTableRootPtr'
  | 'InitPass'
  | 'EIntPass'
  | 'NMIPass'
  | 'IntCtl'
  | 'Lint0Pass'
  | 'Lint1Pass'
> = layout(
  256,
  {
    V: [0, 0],
    TV: [1, 1],
    HAD: [8, 7],
    Mode: [11, 9],
    HostPageTableRootPtr: [51, 12],
    PPR: [52, 52],
    GPRP: [53, 53],
    GIoV: [54, 54],
    GV: [55, 55],
    GLX: [57, 56],
    IR: [61, 61],
    IW: [62, 62],
    DomainID: [79, 64],
    I: [96, 96],
    SE: [97, 97],
    SA: [98, 98],
    IoCtl: [100, 99],
    Cache: [101, 101],
    SD: [102, 102],
    EX: [103, 103],
    SysMgt: [105, 104],
    IV: [128, 128],
    IntTabLen: [132, 129],
    IG: [133, 133],
    InterruptTableRootPtr: [179, 134],
    InitPass: [184, 184],
    EIntPass: [185, 185],
    NMIPass: [186, 186],
    IntCtl: [189, 188],
    Lint0Pass: [190, 190],
    Lint1Pass: [191, 191],
  },
  [
    [6, 2],
    [63, 63],
    [106, 106],
    [183, 180],
    [187, 187],
    [245, 192],
  ],
);

/** Words of a device table entry; a page of the table holds 128 of them. */
export const DEVICE_TABLE_ENTRY_WORDS = 8;
/** Entries in a page of the device table. */
export const DEVICE_TABLE_ENTRIES_A_PAGE = 128;

/** Word 0: V, and TV, the fields about translation are valid. */
export const DTE_V: number = bit(0);
export const DTE_TV: number = bit(1);

/** Mode 0: no translation; the address is checked against IR and IW only. Modes 1 to 6 are the levels of the tables. */
export const MODE_NO_TRANSLATION = 0;
/** Mode 7 is reserved. */
export const MODE_RESERVED = 7;

/** IntCtl of an entry with IV: fixed and arbitrated interrupts are aborted, forwarded as they are, or remapped. */
export const INT_CTL_ABORT = 0b00;
export const INT_CTL_FORWARD = 0b01;
export const INT_CTL_REMAP = 0b10;
/** IntCtl 11 is reserved. */
export const INT_CTL_RESERVED = 0b11;

/**
 * Reserved bits of an entry's words: one that is set makes the entry illegal, in words 0 to 3 while V is set, in words 4 to 7
 * while IV is. Bits of features that are not
 * modelled are reserved like those of features that the IOMMU lacks: accessed and dirty flags in host tables (HAD),
 * enhanced page requests (GPRP) and guest translation of requests without PASID (GIoV).
 */
export function deviceTableEntryReserved(capability: Capability): readonly number[] {
  const words = [...DEVICE_TABLE_ENTRY.reserved];
  const { HAD, PPR, GPRP, GIoV, GV } = DEVICE_TABLE_ENTRY.fields;
  words[0] = (words[0] | HAD.mask) >>> 0;
  words[1] = (words[1] | GPRP.mask | GIoV.mask) >>> 0;
  if (!capability.PPRSup) words[1] = (words[1] | PPR.mask) >>> 0;
  if (!capability.GTSup) words[1] = (words[1] | GV.mask) >>> 0;
  return words;
}
