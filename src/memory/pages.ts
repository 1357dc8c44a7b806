/**
 * Pages and page ranges: the unit in which everything inside viommu counts.
 *
 * A page is a 4 KiB page *number*, never a byte address. 2^64 bytes are 2^52 pages, so every page number, count and
 * exclusive end is an exact integer in a plain JS number and nothing ever wraps. Byte addresses exist only at the
 * edges (public calls, JSON, command line), as bigint or hexadecimal text.
 *
 * @module
 */

/** log2 of the page size in bytes. */
export const PAGE_SHIFT = 12;

/** Bytes in a page. */
export const PAGE_SIZE = 4096;

/** 32-bit words in a page. */
export const PAGE_WORDS = 1024;

/** The exclusive end, in pages, of a 64-bit address space. */
export const PAGES_END: number = 2 ** 52;

/** Pages from `start` (inclusive) to `end` (exclusive). */
export interface PageRange {
  /** First page number, inclusive. */
  readonly start: number;
  /** One past the last page number. */
  readonly end: number;
}

/** Every page of a 64-bit address space. */
export const ALL_PAGES: PageRange = { start: 0, end: PAGES_END };

/** The pages `start` to `start + pages`, checked: both non-negative integers, the end at most 2^52. */
export function pageRange(start: number, pages: number): PageRange {
  if (
    !Number.isSafeInteger(start) ||
    !Number.isSafeInteger(pages) ||
    start < 0 ||
    pages < 0 ||
    start + pages > PAGES_END
  ) {
    throw new RangeError(`pages ${start}+${pages} do not lie within a 64-bit address space (2^52 pages)`);
  }
  return { start, end: start + pages };
}

/** Whether two ranges share a page. */
export function overlaps(a: PageRange, b: PageRange): boolean {
  return a.start < b.end && b.start < a.end;
}

/** The smallest range that holds both. */
export function hull(a: PageRange, b: PageRange): PageRange {
  return { start: Math.min(a.start, b.start), end: Math.max(a.end, b.end) };
}

/** The pages that both ranges hold, or undefined when there are none. */
export function intersect(a: PageRange, b: PageRange): PageRange | undefined {
  const start = Math.max(a.start, b.start);
  const end = Math.min(a.end, b.end);
  return start < end ? { start, end } : undefined;
}

/** The page that holds the byte at `address` (0 to 2^64, exclusive; RangeError otherwise). */
export function pageOf(address: bigint): number {
  if (address < 0n || address >> 64n !== 0n) {
    throw new RangeError(`address ${formatAddress(address)} is not a 64-bit address`);
  }
  return Number(address >> 12n);
}

/** The byte address at which `page` begins; an exclusive end of 2^52 gives 2^64. */
export function addressOf(page: number): bigint {
  return BigInt(page) << 12n;
}

/** Bytes in `pages` pages. */
export function bytesOf(pages: number): bigint {
  return BigInt(pages) << 12n;
}

/** A byte address as lower-case hexadecimal text with `0x`. */
export function formatAddress(address: bigint): string {
  return address < 0n ? `-0x${(-address).toString(16)}` : `0x${address.toString(16)}`;
}

/** The first byte address of `page` as hexadecimal text. */
export function formatPage(page: number): string {
  return formatAddress(addressOf(page));
}

/** A range as `0xFIRST-0xLAST`, the last byte inclusive, as specifications write address ranges. */
export function formatRange(range: PageRange): string {
  return `${formatPage(range.start)}-${formatAddress(addressOf(range.end) - 1n)}`;
}
