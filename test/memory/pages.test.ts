import { describe, expect, it } from 'vitest';
import {
  addressOf,
  ALL_PAGES,
  bytesOf,
  formatAccess,
  formatAddress,
  formatPage,
  formatRange,
  intersect,
  overlaps,
  PAGES_END,
  pageOf,
  pageRange,
} from '../../src/memory/index.ts';

describe('a page range', () => {
  it('may end at 2^64 bytes', () => {
    expect(pageRange(PAGES_END - 1, 1)).toEqual({ start: PAGES_END - 1, end: PAGES_END });
  });

  it('may begin at page 0', () => {
    expect(pageRange(0, 4)).toEqual({ start: 0, end: 4 });
  });

  it('may be empty', () => {
    expect(pageRange(PAGES_END, 0)).toEqual({ start: PAGES_END, end: PAGES_END });
  });

  it.each([
    [-1, 1],
    [0, -1],
    [0.5, 1],
    [0, 1.5],
    [PAGES_END, 1],
    [1, PAGES_END],
    [Number.NaN, 1],
    [0, Infinity],
  ])('of %d+%d is refused', (start, pages) => {
    expect(() => pageRange(start, pages)).toThrow(RangeError);
  });

  it.each([
    [
      { start: 0, end: 4 },
      { start: 4, end: 8 },
    ],
    [
      { start: 4, end: 8 },
      { start: 0, end: 4 },
    ],
  ])('%o shares no page with its neighbour %o', (a, b) => {
    expect(overlaps(a, b)).toBe(false);
  });

  it('shares a page with a range that begins on its last page', () => {
    expect(overlaps({ start: 0, end: 4 }, { start: 3, end: 8 })).toBe(true);
  });

  it('intersects another in the pages that both hold', () => {
    expect(intersect({ start: 0, end: 6 }, { start: 4, end: 8 })).toEqual({ start: 4, end: 6 });
  });

  it('has no intersection with its neighbour', () => {
    expect(intersect({ start: 0, end: 4 }, { start: 4, end: 8 })).toBeUndefined();
  });

  it('is written with its last byte inclusive', () => {
    expect(formatRange({ start: 0xfee00, end: 0xfef00 })).toBe('0xfee00000-0xfeefffff');
  });

  it('of all pages is written up to the last byte of 64 bits', () => {
    expect(formatRange(ALL_PAGES)).toBe('0x0-0xffffffffffffffff');
  });
});

describe('an address', () => {
  it.each([
    [0n, 0],
    [0xfffn, 0],
    [0x1000n, 1],
    [0xffff_ffff_ffff_ffffn, PAGES_END - 1],
  ])('%d lies in page %d', (address, page) => {
    expect(pageOf(address)).toBe(page);
  });

  it.each([-1n, 1n << 64n])('of %d is refused', (address) => {
    expect(() => pageOf(address)).toThrow(/is not a 64-bit address/);
  });

  it('of the exclusive end is 2^64', () => {
    expect(addressOf(PAGES_END)).toBe(1n << 64n);
  });

  it('of an odd page above 2^40 is exact', () => {
    expect(addressOf(PAGES_END - 1)).toBe(0xffff_ffff_ffff_f000n);
  });

  it('is written in lower-case hexadecimal', () => {
    expect(formatAddress(0xabcdef0n)).toBe('0xabcdef0');
  });

  it('below zero, as an error may name it, keeps its sign', () => {
    expect(formatAddress(-16n)).toBe('-0x10');
  });

  it('of a page is its first byte', () => {
    expect(formatPage(0xfee00)).toBe('0xfee00000');
  });
});

describe('sizes and permissions', () => {
  it('counts bytes of pages', () => {
    expect(bytesOf(512)).toBe(0x20_0000n);
  });

  it.each([
    [0, 'none'],
    [1, 'r'],
    [2, 'w'],
    [3, 'rw'],
  ] as const)('access %d is written %s', (access, text) => {
    expect(formatAccess(access)).toBe(text);
  });
});
