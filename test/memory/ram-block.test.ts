import { describe, expect, it } from 'vitest';
import {
  BorrowedRamBlock,
  DenseRamBlock,
  PageCursor,
  type RamBlock,
  SparseRamBlock,
} from '../../src/memory/index.ts';

/** Pages of a window of a dense block. */
const WINDOW = 1 << 18;

const BLOCKS: [string, (pages: number) => RamBlock][] = [
  ['dense', (pages) => new DenseRamBlock(pages)],
  ['sparse', (pages) => new SparseRamBlock(pages)],
  ['borrowed', (pages) => new BorrowedRamBlock(new ArrayBuffer(pages * 4096))],
  ['shared borrowed', (pages) => new BorrowedRamBlock(new SharedArrayBuffer(pages * 4096))],
];

function firstWord(block: RamBlock, page: number): number {
  const cursor = new PageCursor();
  block.locate(page, cursor, false);
  return cursor.words[cursor.base];
}

function setFirstWord(block: RamBlock, page: number, value: number): void {
  const cursor = new PageCursor();
  block.locate(page, cursor, true);
  cursor.words[cursor.base] = value;
}

describe.each(BLOCKS)('a %s block', (_name, make) => {
  it('has the length it was made with', () => {
    expect(make(7).pages).toBe(7);
  });

  it('reads as zeros before it is written', () => {
    expect(firstWord(make(3), 2)).toBe(0);
  });

  it('reads what was written', () => {
    const block = make(3);

    setFirstWord(block, 1, 0x1234);

    expect([0, 1, 2].map((page) => firstWord(block, page))).toEqual([0, 0x1234, 0]);
  });

  it('shows the same bytes as words', () => {
    const block = make(2);
    const cursor = new PageCursor();
    block.locate(1, cursor, true);

    cursor.bytes().set([0x78, 0x56, 0x34, 0x12], 4);

    expect(cursor.words[cursor.base + 1]).toBe(0x12345678);
  });

  it('shows an unwritten page through a cursor that was at a written one', () => {
    const block = make(4);
    const cursor = new PageCursor();
    block.locate(3, cursor, true);
    cursor.words[cursor.base + 1023] = 1;

    block.locate(2, cursor, false);

    expect(cursor.bytes()).toEqual(new Uint8Array(4096));
  });

  it('lends exactly one page of bytes', () => {
    const cursor = new PageCursor();

    make(3).locate(1, cursor, true);

    expect(cursor.bytes().length).toBe(4096);
  });

  it('keeps a page unwritten that was only read', () => {
    const block = make(2);
    firstWord(block, 0);

    setFirstWord(block, 0, 5);

    expect(firstWord(block, 1)).toBe(0);
  });
});

describe('a dense block of several windows', () => {
  it('takes no memory for a window that was only read', () => {
    const block = new DenseRamBlock(2 * WINDOW);
    const cursor = new PageCursor();

    block.locate(WINDOW, cursor, false);

    expect(cursor.words.length).toBe(1024);
  });

  it('keeps the first page of a window apart from that of the one before', () => {
    const block = new DenseRamBlock(2 * WINDOW + 1);

    setFirstWord(block, 2 * WINDOW, 9);

    expect([0, WINDOW, 2 * WINDOW].map((page) => firstWord(block, page))).toEqual([0, 0, 9]);
  });

  it('gives the last window no more than the block has', () => {
    const block = new DenseRamBlock(2 * WINDOW + 1);
    const cursor = new PageCursor();

    block.locate(2 * WINDOW, cursor, true);

    expect(cursor.words.length).toBe(1024);
  });
});

describe('a sparse block', () => {
  it('takes content for its first page', () => {
    const block = new SparseRamBlock(1);

    block.setPage(0, new Uint32Array(1024).fill(4));

    expect(firstWord(block, 0)).toBe(4);
  });

  it('shows a page through a cursor that was elsewhere', () => {
    const cursor = new PageCursor();
    new DenseRamBlock(3).locate(2, cursor, true);

    new SparseRamBlock(1).locate(0, cursor, false);

    expect(cursor.bytes()).toEqual(new Uint8Array(4096));
  });

  it('takes a page of content without a copy', () => {
    const block = new SparseRamBlock(1 << 30);
    const words = new Uint32Array(1024);
    block.setPage(1 << 29, words);

    words[0] = 3;

    expect(firstWord(block, 1 << 29)).toBe(3);
  });

  it('knows which pages have content', () => {
    const block = new SparseRamBlock(4);
    block.setPage(1, new Uint32Array(1024));
    setFirstWord(block, 2, 1);
    firstWord(block, 3);

    expect([0, 1, 2, 3].map((page) => block.hasPage(page))).toEqual([false, true, true, false]);
  });

  it.each([
    [-1, 1024],
    [4, 1024],
    [0, 1023],
    [0, 1025],
  ])('refuses page %d with %d words', (page, words) => {
    expect(() => new SparseRamBlock(4).setPage(page, new Uint32Array(words))).toThrow(RangeError);
  });
});

describe('a borrowed block', () => {
  it('shows writes of the owner', () => {
    const buffer = new ArrayBuffer(8192);
    const block = new BorrowedRamBlock(buffer);

    new Uint32Array(buffer)[1024] = 77;

    expect(firstWord(block, 1)).toBe(77);
  });

  it('refuses a buffer that is not whole pages', () => {
    expect(() => new BorrowedRamBlock(new ArrayBuffer(4097))).toThrow(/whole 4 KiB pages/);
  });

  it('refuses more than 4 GiB', () => {
    const huge = { byteLength: 2 ** 32 + 4096 } as ArrayBuffer;

    expect(() => new BorrowedRamBlock(huge)).toThrow(/4 GiB at the most/);
  });
});
