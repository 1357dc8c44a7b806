/**
 * Invalidation granularities of the registers, and the errors of the invalidation queue (VT-d 6.5, 11.4.6, 11.4.9.9).
 * The queue's descriptors are in descriptors.ts.
 *
 * @module
 */

/**
 * CIRG and CAIG of CCMD_REG, and G of a context-cache descriptor: what was asked for, and what was done, which may be
 * broader. 00 is reserved as a request; as a result it says that nothing was done.
 */
export const CC_GLOBAL = 0b01;
export const CC_DOMAIN = 0b10;
export const CC_DEVICE = 0b11;

/** IIRG and IAIG of IOTLB_REG, and G of an IOTLB descriptor; 00 as for CCMD_REG. */
export const IOTLB_GLOBAL = 0b01;
export const IOTLB_DOMAIN = 0b10;
export const IOTLB_PAGE = 0b11;

/** A granularity result of 00: the request was not valid and was ignored. */
export const GRANULARITY_NONE = 0b00;

/** G of a PASID-cache descriptor; 10 is reserved. */
export const PC_DOMAIN = 0b00;
export const PC_PASID = 0b01;
export const PC_GLOBAL = 0b11;

/** G of a PASID-based IOTLB descriptor; 00 and 01 are reserved. */
export const PIOTLB_PASID = 0b10;
export const PIOTLB_PAGE = 0b11;

/** G of an interrupt-entry-cache descriptor. */
export const IEC_GLOBAL = 0;
export const IEC_INDEX = 1;

/** IQERCD_REG.IQEI: why FSTS_REG.IQE was set. */
export const IQEI_NONE = 0;
/** The tail is not inside the queue. */
export const IQEI_TAIL = 1;
/** A descriptor could not be read. */
export const IQEI_FETCH = 2;
/** No such descriptor type, or none in this translation table mode or on this unit. */
export const IQEI_TYPE = 3;
/** A reserved field is set, or a field holds a reserved value. */
export const IQEI_RESERVED = 4;
/** The descriptor width does not fit the unit or the translation table mode. */
export const IQEI_WIDTH = 5;
/** 256-bit descriptors, and bit 4 of the tail is set. */
export const IQEI_TAIL_ALIGNMENT = 6;
/** RTADDR_REG.TTM holds a mode that the unit cannot use. */
export const IQEI_TTM = 7;

/**
 * The bits of a source identifier that a context-cache invalidation compares: FM (0 to 3) leaves out function bits
 * from the top, 2, then 2:1, then 2:0 (VT-d 6.5.2.1).
 */
export function sourceMask(fm: number): number {
  return fm === 0 ? 0xffff : fm === 1 ? 0xfffb : fm === 2 ? 0xfff9 : 0xfff8;
}

/**
 * The first page that a page-selective request covers: its low `am` bits are ignored (VT-d 6.5.2.3).
 *
 * @param page page number in the request
 * @param am address mask: log2 of the number of pages, 0 to 63
 */
export function firstPage(page: number, am: number): number {
  const pages = 2 ** am;
  return Math.floor(page / pages) * pages;
}

/**
 * The pages that a device-TLB request names (VT-d 6.5.2.5): one page when S is clear; otherwise the lowest clear bit
 * of the page number says how many, counting the bit itself.
 *
 * @returns first page and number of pages; `pages` is 2^52 when every bit is set
 */
export function deviceTlbPages(page: number, s: boolean): { readonly start: number; readonly pages: number } {
  if (!s) return { start: page, pages: 1 };
  let pages = 2;
  let rest = page;
  while (rest % 2 === 1) {
    pages *= 2;
    rest = (rest - 1) / 2;
  }
  pages = Math.min(pages, 2 ** 52);
  return { start: Math.floor(page / pages) * pages, pages };
}
