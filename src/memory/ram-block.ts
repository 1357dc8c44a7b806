/**
 * Guest RAM as blocks of typed memory.
 *
 * Tables are read as 32-bit words through one Uint32Array: measured against C -O2, that costs 3x in a full scan where
 * BigUint64Array costs 46x. A block therefore hands out *where* a page's words are and never copies them.
 *
 * @module
 */
import { PAGE_WORDS } from './pages.ts';

if (new Uint8Array(new Uint32Array([1]).buffer)[0] !== 1) {
  throw new Error('viommu reads guest memory as little-endian words and needs a little-endian host');
}

const NO_WORDS = new Uint32Array(0);

/** Where the 1,024 words of a page are: `words[base]` to `words[base + 1023]`. Reused by its owner; nothing in it may be kept. */
export class PageCursor {
  words: Uint32Array = NO_WORDS;
  base = 0;

  /** The page's 4,096 bytes, as a view of the same memory. */
  bytes(): Uint8Array {
    return new Uint8Array(this.words.buffer, this.words.byteOffset + this.base * 4, PAGE_WORDS * 4);
  }
}

/** A run of guest RAM. Pages are counted from the start of the block. */
export interface RamBlock {
  /** Length in pages. */
  readonly pages: number;
  /**
   * Points `cursor` at a page (0 to `pages`, exclusive; the caller has checked). Pages that were never written read
   * as zeros and may share one read-only page of zeros: ask with `forWrite` before storing anything.
   */
  locate(page: number, cursor: PageCursor, forWrite: boolean): void;
}

/** What an untouched page reads as. Never written: `locate` hands it out only for reading. */
const ZEROS = new Uint32Array(PAGE_WORDS);

/** Windows are 1 GiB: far below the largest typed array of every supported Node, and a word index stays a small integer. */
const WINDOW_PAGE_BITS = 18;
const WINDOW_PAGES = 1 << WINDOW_PAGE_BITS;

/** RAM in windows of up to 1 GiB, each allocated when it is first written. */
export class DenseRamBlock implements RamBlock {
  readonly pages: number;
  readonly #windows: (Uint32Array | undefined)[];

  constructor(pages: number) {
    this.pages = pages;
    this.#windows = new Array<Uint32Array | undefined>(Math.ceil(pages / WINDOW_PAGES)).fill(undefined);
  }

  locate(page: number, cursor: PageCursor, forWrite: boolean): void {
    const index = Math.floor(page / WINDOW_PAGES);
    let words = this.#windows[index];
    if (words === undefined) {
      if (!forWrite) {
        cursor.words = ZEROS;
        cursor.base = 0;
        return;
      }
      words = new Uint32Array(Math.min(WINDOW_PAGES, this.pages - index * WINDOW_PAGES) * PAGE_WORDS);
      this.#windows[index] = words;
    }
    cursor.words = words;
    cursor.base = (page % WINDOW_PAGES) * PAGE_WORDS;
  }
}

/** RAM over memory that somebody else owns (a mapped file, a SharedArrayBuffer), up to 4 GiB, never copied. */
export class BorrowedRamBlock implements RamBlock {
  readonly pages: number;
  readonly #words: Uint32Array;

  /** `buffer` stays the caller's; its length must be whole pages, 4 GiB at the most. */
  constructor(buffer: ArrayBuffer | SharedArrayBuffer) {
    if (buffer.byteLength % (PAGE_WORDS * 4) !== 0 || buffer.byteLength > 2 ** 32) {
      throw new RangeError(
        `guest RAM of ${buffer.byteLength} bytes: a block is whole 4 KiB pages, 4 GiB at the most`,
      );
    }
    this.pages = buffer.byteLength / (PAGE_WORDS * 4);
    this.#words = new Uint32Array(buffer);
  }

  locate(page: number, cursor: PageCursor, _forWrite: boolean): void {
    cursor.words = this.#words;
    cursor.base = page * PAGE_WORDS;
  }
}

/** RAM of which few pages are known, as in a capture: a page takes memory when it is given or written. */
export class SparseRamBlock implements RamBlock {
  readonly pages: number;
  readonly #present: Map<number, Uint32Array> = new Map();

  constructor(pages: number) {
    this.pages = pages;
  }

  /** Gives a page its content: 1,024 words, owned by the block from now on. */
  setPage(page: number, words: Uint32Array): void {
    if (page < 0 || page >= this.pages || words.length !== PAGE_WORDS) {
      throw new RangeError(
        `page ${page} with ${words.length} words does not fit a block of ${this.pages} pages`,
      );
    }
    this.#present.set(page, words);
  }

  /** Whether the page has content of its own. */
  hasPage(page: number): boolean {
    return this.#present.has(page);
  }

  locate(page: number, cursor: PageCursor, forWrite: boolean): void {
    let words = this.#present.get(page);
    if (words === undefined) {
      if (forWrite) {
        words = new Uint32Array(PAGE_WORDS);
        this.#present.set(page, words);
      } else {
        words = ZEROS;
      }
    }
    cursor.words = words;
    cursor.base = 0;
  }
}
