/**
 * Descriptors of the invalidation queue (VT-d 6.5.2): 128 bits each, or 256 bits when IQA_REG.DW is set, of which the
 * upper 128 are reserved in every type here.
 *
 * @module
 */

import type { Capability } from './capability.ts';
import * as inv from './invalidation.ts';
import type { Bits, Layout } from '../../layout.ts';
import { layout, readField } from '../../layout.ts';
import { TTM_ABORT_DMA, TTM_LEGACY, TTM_SCALABLE } from './registers.ts';

/** Descriptor types: bits 11:9 and 3:0 of word 0, joined. */
export const TYPE_CC_INV_DSC = 1;
export const TYPE_IOTLB_INV_DSC = 2;
export const TYPE_DEV_TLB_INV_DSC = 3;
export const TYPE_IEC_INV_DSC = 4;
export const TYPE_INV_WAIT_DSC = 5;
export const TYPE_P_IOTLB_INV_DSC = 6;
export const TYPE_PC_INV_DSC = 7;
export const TYPE_P_DEV_TLB_INV_DSC = 8;
export const TYPE_PAGE_GRP_RESP_DSC = 9;

/** Words of a descriptor in a queue of 128-bit descriptors; 256-bit ones take twice as many. */
export const DESCRIPTOR_WORDS = 4;

/** The descriptor type in word 0: 0 to 127. */
export function descriptorType(word0: number): number {
  return (word0 & 0xf) | ((word0 >>> 5) & 0x70);
}

type Header = 'TYPE' | 'TYPE_HI';
const TYPE_LO: Bits = [3, 0];
const TYPE_HI: Bits = [11, 9];

/** Context-cache Invalidate (VT-d 6.5.2.1). */
export const CC_INV_DSC: Layout<Header | 'G' | 'DID' | 'SID' | 'FM'> = layout(
  128,
  { TYPE: TYPE_LO, G: [5, 4], TYPE_HI, DID: [31, 16], SID: [47, 32], FM: [49, 48] },
  [
    [8, 6],
    [15, 12],
    [127, 50],
  ],
);

/** PASID-cache Invalidate (VT-d 6.5.2.2). */
export const PC_INV_DSC: Layout<Header | 'G' | 'DID' | 'PASID'> = layout(
  128,
  { TYPE: TYPE_LO, G: [5, 4], TYPE_HI, DID: [31, 16], PASID: [51, 32] },
  [
    [8, 6],
    [15, 12],
    [127, 52],
  ],
);

/** IOTLB Invalidate (VT-d 6.5.2.3). */
export const IOTLB_INV_DSC: Layout<Header | 'G' | 'DW' | 'DR' | 'DID' | 'AM' | 'IH' | 'ADDR'> = layout(
  128,
  {
    TYPE: TYPE_LO,
    G: [5, 4],
    DW: [6, 6],
    DR: [7, 7],
    TYPE_HI,
    DID: [31, 16],
    AM: [69, 64],
    IH: [70, 70],
    ADDR: [127, 76],
  },
  [
    [8, 8],
    [15, 12],
    [63, 32],
    [75, 71],
  ],
);

/** PASID-based IOTLB Invalidate (VT-d 6.5.2.4). */
export const P_IOTLB_INV_DSC: Layout<Header | 'G' | 'DID' | 'PASID' | 'AM' | 'IH' | 'ADDR'> = layout(
  128,
  {
    TYPE: TYPE_LO,
    G: [5, 4],
    TYPE_HI,
    DID: [31, 16],
    PASID: [51, 32],
    AM: [69, 64],
    IH: [70, 70],
    ADDR: [127, 76],
  },
  [
    [8, 6],
    [15, 12],
    [63, 52],
    [75, 71],
  ],
);

/** Device-TLB Invalidate (VT-d 6.5.2.5). */
export const DEV_TLB_INV_DSC: Layout<Header | 'PFSID' | 'MIP' | 'SID' | 'PFSID_HI' | 'S' | 'ADDR'> = layout(
  128,
  {
    TYPE: TYPE_LO,
    TYPE_HI,
    PFSID: [15, 12],
    MIP: [20, 16],
    SID: [47, 32],
    PFSID_HI: [63, 52],
    S: [64, 64],
    ADDR: [127, 76],
  },
  [
    [8, 4],
    [31, 21],
    [51, 48],
    [75, 65],
  ],
);

/** PASID-based Device-TLB Invalidate (VT-d 6.5.2.6). */
export const P_DEV_TLB_INV_DSC: Layout<
  Header | 'MIP' | 'PFSID' | 'SID' | 'PASID' | 'PFSID_HI' | 'G' | 'S' | 'ADDR'
> = layout(
  128,
  {
    TYPE: TYPE_LO,
    MIP: [8, 4],
    TYPE_HI,
    PFSID: [15, 12],
    SID: [31, 16],
    PASID: [51, 32],
    PFSID_HI: [63, 52],
    G: [64, 64],
    S: [75, 75],
    ADDR: [127, 76],
  },
  [[74, 65]],
);

/** Interrupt Entry Cache Invalidate (VT-d 6.5.2.7). */
export const IEC_INV_DSC: Layout<Header | 'G' | 'IM' | 'IIDX'> = layout(
  128,
  { TYPE: TYPE_LO, G: [4, 4], TYPE_HI, IM: [31, 27], IIDX: [47, 32] },
  [
    [8, 5],
    [26, 12],
    [127, 48],
  ],
);

/**
 * Invalidation Wait (VT-d 6.5.2.8). PD is reserved without ECAP.PDS. The status address, STADDR in the specification
 * (bits 63:2 of a byte address), is split into its page number and the 32-bit word inside the page.
 */
export const INV_WAIT_DSC: Layout<
  Header | 'IF' | 'SW' | 'FN' | 'PD' | 'STDATA' | 'STADDR_WORD' | 'STADDR_PAGE'
> = layout(
  128,
  {
    TYPE: TYPE_LO,
    IF: [4, 4],
    SW: [5, 5],
    FN: [6, 6],
    PD: [7, 7],
    TYPE_HI,
    STDATA: [63, 32],
    STADDR_WORD: [75, 66],
    STADDR_PAGE: [127, 76],
  },
  [
    [8, 8],
    [31, 12],
    [65, 64],
  ],
);

/**
 * Whether descriptors of this width may be queued (VT-d 11.4.9.3): 256 bits need a unit with scalable mode or
 * abort-DMA mode, 128 bits serve legacy mode only.
 *
 * @returns IQEI_NONE, IQEI_TTM or IQEI_WIDTH
 */
export function checkWidth(wide: boolean, ttm: number, capability: Capability): number {
  const usable =
    ttm === TTM_LEGACY ||
    (ttm === TTM_SCALABLE && capability.SMTS) ||
    (ttm === TTM_ABORT_DMA && capability.ADMS);
  if (!usable) return inv.IQEI_TTM;
  if (wide) return capability.SMTS || capability.ADMS ? inv.IQEI_NONE : inv.IQEI_WIDTH;
  return ttm === TTM_LEGACY ? inv.IQEI_NONE : inv.IQEI_WIDTH;
}

/**
 * Judges the descriptor at `words[base]` before anything of it is obeyed (VT-d 6.5.2, table of types; 11.4.9.9).
 * Page-group responses are never accepted, as page requests are not modelled.
 *
 * @param wide whether descriptors are 256 bits wide, 8 words instead of 4
 * @param ttm the translation table mode in force
 * @returns IQEI_NONE, IQEI_TYPE or IQEI_RESERVED
 */
export function checkDescriptor(
  words: ArrayLike<number>,
  base: number,
  wide: boolean,
  ttm: number,
  capability: Capability,
): number {
  const type = descriptorType(words[base] ?? 0);
  const descriptor = descriptorLayout(type, ttm, capability);
  if (descriptor === undefined) return inv.IQEI_TYPE;
  for (let word = 0; word < DESCRIPTOR_WORDS; word++) {
    if (((words[base + word] ?? 0) & descriptor.reserved[word]) !== 0) return inv.IQEI_RESERVED;
  }
  if (wide) {
    for (let word = DESCRIPTOR_WORDS; word < 2 * DESCRIPTOR_WORDS; word++) {
      if ((words[base + word] ?? 0) !== 0) return inv.IQEI_RESERVED;
    }
  }
  return valuesAllowed(type, words, base, capability) ? inv.IQEI_NONE : inv.IQEI_RESERVED;
}

function descriptorLayout(type: number, ttm: number, capability: Capability): Layout<Header> | undefined {
  const scalable = ttm !== TTM_LEGACY;
  switch (type) {
    case TYPE_CC_INV_DSC:
      return CC_INV_DSC;
    case TYPE_IOTLB_INV_DSC:
      return IOTLB_INV_DSC;
    case TYPE_DEV_TLB_INV_DSC:
      return capability.DT ? DEV_TLB_INV_DSC : undefined;
    case TYPE_IEC_INV_DSC:
      return capability.IR ? IEC_INV_DSC : undefined;
    case TYPE_INV_WAIT_DSC:
      return INV_WAIT_DSC;
    case TYPE_P_IOTLB_INV_DSC:
      return scalable ? P_IOTLB_INV_DSC : undefined;
    case TYPE_PC_INV_DSC:
      return scalable ? PC_INV_DSC : undefined;
    case TYPE_P_DEV_TLB_INV_DSC:
      return scalable && capability.DT ? P_DEV_TLB_INV_DSC : undefined;
    default:
      return undefined;
  }
}

function valuesAllowed(
  type: number,
  words: ArrayLike<number>,
  base: number,
  capability: Capability,
): boolean {
  switch (type) {
    case TYPE_CC_INV_DSC:
      return readField(words, CC_INV_DSC.fields.G, base) !== inv.GRANULARITY_NONE;
    case TYPE_PC_INV_DSC:
      return readField(words, PC_INV_DSC.fields.G, base) !== 0b10;
    case TYPE_P_IOTLB_INV_DSC:
      return readField(words, P_IOTLB_INV_DSC.fields.G, base) >= inv.PIOTLB_PASID;
    case TYPE_IOTLB_INV_DSC: {
      const g = readField(words, IOTLB_INV_DSC.fields.G, base);
      if (g !== inv.IOTLB_PAGE) return g !== inv.GRANULARITY_NONE;
      return capability.PSI && readField(words, IOTLB_INV_DSC.fields.AM, base) <= capability.MAMV;
    }
    case TYPE_IEC_INV_DSC:
      return (
        readField(words, IEC_INV_DSC.fields.G, base) === inv.IEC_GLOBAL ||
        readField(words, IEC_INV_DSC.fields.IM, base) <= capability.MHMV
      );
    case TYPE_INV_WAIT_DSC:
      return capability.PDS || readField(words, INV_WAIT_DSC.fields.PD, base) === 0;
    default:
      return true;
  }
}
