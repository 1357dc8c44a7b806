/**
 * Commands (AMD-Vi 2.4): 128 bits each, the opcode in bits 63:60.
 *
 * @module
 */

import { type Bits, type Field, type Layout, layout, readField } from '../../layout.ts';
import type { Capability } from './capability.ts';

export const COMPLETION_WAIT = 0x1;
export const INVALIDATE_DEVTAB_ENTRY = 0x2;
export const INVALIDATE_IOMMU_PAGES = 0x3;
export const INVALIDATE_IOTLB_PAGES = 0x4;
export const INVALIDATE_INTERRUPT_TABLE = 0x5;
export const PREFETCH_IOMMU_PAGES = 0x6;
export const COMPLETE_PPR_REQUEST = 0x7;
export const INVALIDATE_IOMMU_ALL = 0x8;

/** Words and bytes of a command. */
export const COMMAND_WORDS = 4;
export const COMMAND_BYTES = 16;

/** The opcode in word 1. */
export function opcodeOf(word1: number): number {
  return word1 >>> 28;
}

const OpCode: Bits = [63, 60];

/** COMPLETION_WAIT (AMD-Vi 2.4.1). StoreAddress counts quadwords. */
export const COMPLETION_WAIT_COMMAND: Layout<'s' | 'i' | 'f' | 'StoreAddress' | 'OpCode'> = layout(
  128,
  { s: [0, 0], i: [1, 1], f: [2, 2], StoreAddress: [51, 3], OpCode },
  [[59, 52]],
);

/** INVALIDATE_DEVTAB_ENTRY (AMD-Vi 2.4.2). */
export const INVALIDATE_DEVTAB_ENTRY_COMMAND: Layout<'DeviceID' | 'OpCode'> = layout(
  128,
  { DeviceID: [15, 0], OpCode },
  [
    [59, 16],
    [127, 64],
  ],
);

/** INVALIDATE_IOMMU_PAGES (AMD-Vi 2.4.3). Address is a page number; PASID is valid with GN. */
export const INVALIDATE_IOMMU_PAGES_COMMAND: Layout<
  'PASID' | 'DomainID' | 'OpCode' | 'S' | 'PDE' | 'GN' | 'Address'
> = layout(
  128,
  {
    PASID: [19, 0],
    DomainID: [47, 32],
    OpCode,
    S: [64, 64],
    PDE: [65, 65],
    GN: [66, 66],
    Address: [127, 76],
  },
  [
    [31, 20],
    [59, 48],
    [75, 67],
  ],
);

/** INVALIDATE_IOTLB_PAGES (AMD-Vi 2.4.4). Address is a page number; the PASID is in two parts. */
export const INVALIDATE_IOTLB_PAGES_COMMAND: Layout<
  'DeviceID' | 'PASID_7_0' | 'MaxPend' | 'QueueID' | 'PASID_19_8' | 'OpCode' | 'S' | 'GN' | 'Type' | 'Address'
> = layout(
  128,
  {
    DeviceID: [15, 0],
    PASID_7_0: [23, 16],
    MaxPend: [31, 24],
    QueueID: [47, 32],
    PASID_19_8: [59, 48],
    OpCode,
    S: [64, 64],
    GN: [66, 66],
    Type: [69, 68],
    Address: [127, 76],
  },
  [
    [65, 65],
    [67, 67],
    [75, 70],
  ],
);

/** INVALIDATE_INTERRUPT_TABLE (AMD-Vi 2.4.5). */
export const INVALIDATE_INTERRUPT_TABLE_COMMAND: Layout<'DeviceID' | 'OpCode'> = layout(
  128,
  { DeviceID: [15, 0], OpCode },
  [
    [59, 16],
    [127, 64],
  ],
);

/** PREFETCH_IOMMU_PAGES (AMD-Vi 2.4.6), a hint. */
export const PREFETCH_IOMMU_PAGES_COMMAND: Layout<
  'DeviceID' | 'PFCount' | 'PASID' | 'OpCode' | 'S' | 'GN' | 'Inval' | 'Address'
> = layout(128, {
  DeviceID: [15, 0],
  PFCount: [31, 24],
  PASID: [51, 32],
  OpCode,
  S: [64, 64],
  GN: [66, 66],
  Inval: [68, 68],
  Address: [127, 76],
});

/** COMPLETE_PPR_REQUEST (AMD-Vi 2.4.7). */
export const COMPLETE_PPR_REQUEST_COMMAND: Layout<'DeviceID' | 'PASID' | 'OpCode' | 'GN' | 'CompletionTag'> =
  layout(128, {
    DeviceID: [15, 0],
    PASID: [51, 32],
    OpCode,
    GN: [66, 66],
    CompletionTag: [111, 96],
  });

/** INVALIDATE_IOMMU_ALL (AMD-Vi 2.4.8). */
export const INVALIDATE_IOMMU_ALL_COMMAND: Layout<'OpCode'> = layout(128, { OpCode }, [
  [59, 0],
  [127, 64],
]);

/** Whether the command in `words` from `base` on is one that an IOMMU with `capability` knows, with no reserved bit set. */
export function isLegalCommand(words: ArrayLike<number>, base: number, capability: Capability): boolean {
  const form = formOf(opcodeOf(words[base + 1] ?? 0), capability);
  if (form === undefined) return false;
  return form.reserved.every((mask, i) => ((words[base + i] ?? 0) & mask) === 0);
}

function formOf(opcode: number, capability: Capability): Layout<'OpCode'> | undefined {
  switch (opcode) {
    case COMPLETION_WAIT:
      return COMPLETION_WAIT_COMMAND;
    case INVALIDATE_DEVTAB_ENTRY:
      return INVALIDATE_DEVTAB_ENTRY_COMMAND;
    case INVALIDATE_IOMMU_PAGES:
      return INVALIDATE_IOMMU_PAGES_COMMAND;
    case INVALIDATE_IOTLB_PAGES:
      return capability.IotlbSup ? INVALIDATE_IOTLB_PAGES_COMMAND : undefined;
    case INVALIDATE_INTERRUPT_TABLE:
      return INVALIDATE_INTERRUPT_TABLE_COMMAND;
    case PREFETCH_IOMMU_PAGES:
      return capability.PreFSup ? PREFETCH_IOMMU_PAGES_COMMAND : undefined;
    case COMPLETE_PPR_REQUEST:
      return capability.PPRSup ? COMPLETE_PPR_REQUEST_COMMAND : undefined;
    case INVALIDATE_IOMMU_ALL:
      return capability.IASup ? INVALIDATE_IOMMU_ALL_COMMAND : undefined;
    default:
      return undefined;
  }
}

/** Pages that an invalidation names. */
export interface NamedPages {
  /** First page. */
  readonly start: number;
  /** How many, a power of two; 2^52 are all there are. */
  readonly pages: number;
}

/**
 * The pages that S and Address of an invalidation name (AMD-Vi 2.4.3): one page, or, with S, 2^(n+1) aligned pages where
 * address bits 12 to 12+n-1 are ones and bit 12+n is zero. Without a zero bit up to bit 62, which is what software writes
 * for a whole domain, all pages.
 *
 * @param page the Address field, a page number
 */
export function namedPages(page: number, s: boolean): NamedPages {
  if (!s) return { start: page, pages: 1 };
  let pages = 2;
  for (let rest = page; rest % 2 === 1; rest = Math.floor(rest / 2)) pages *= 2;
  // Bit 63 is no part of the encoding: 7FFF_FFFF_FFFF_F000h is every address.
  if (pages >= 2 ** 52) return { start: 0, pages: 2 ** 52 };
  return { start: Math.floor(page / pages) * pages, pages };
}

/** The fields that S, GN and Address have in every invalidation of pages. */
export interface PageOperands {
  readonly S: Field;
  readonly GN: Field;
  readonly Address: Field;
}

/** The pages that an invalidation in `words` names, by its layout's `fields`. */
export function pagesOfCommand(words: ArrayLike<number>, fields: PageOperands): NamedPages {
  return namedPages(readField(words, fields.Address), readField(words, fields.S) === 1);
}
