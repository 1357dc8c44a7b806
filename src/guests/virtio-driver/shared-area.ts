import {
  type AddressSpace,
  addressOf,
  formatPage,
  PAGE_SIZE,
  PAGE_WORDS,
  PageCursor,
} from '../../memory/index.ts';
import type { PageAllocator } from '../page-allocator.ts';
import { VirtioDriverError } from './error.ts';

/** Pages of guest RAM side by side that a driver shares with its device. Offsets are bytes from the first page. */
export class SharedArea {
  readonly page: number;
  readonly pages: number;
  readonly #memory: AddressSpace;
  readonly #allocator: PageAllocator;
  readonly #cursor: PageCursor = new PageCursor();

  /** Takes `pages` pages and clears them. PageAllocatorError when there are none. */
  constructor(memory: AddressSpace, allocator: PageAllocator, pages: number) {
    this.#memory = memory;
    this.#allocator = allocator;
    this.pages = pages;
    this.page = allocator.allocate(pages);
    for (let page = 0; page < pages; page++) this.#words(page).fill(0);
  }

  /** Guest-physical byte address of `offset`. */
  address(offset: number): bigint {
    return addressOf(this.page) + BigInt(offset);
  }

  /** The 32-bit word at `offset`, a multiple of 4. */
  word(offset: number): number {
    return this.#words(Math.floor(offset / PAGE_SIZE))[(offset % PAGE_SIZE) / 4] as number;
  }

  /** Stores it. */
  setWord(offset: number, value: number): void {
    this.#words(Math.floor(offset / PAGE_SIZE))[(offset % PAGE_SIZE) / 4] = value;
  }

  /** The 16 bits at `offset`, a multiple of 2. */
  half(offset: number): number {
    return (this.word(offset & ~3) >>> ((offset & 2) * 8)) & 0xffff;
  }

  /** Stores them. */
  setHalf(offset: number, value: number): void {
    const shift = (offset & 2) * 8;
    const others = this.word(offset & ~3) & ~(0xffff << shift);
    this.setWord(offset & ~3, others | ((value & 0xffff) << shift));
  }

  /** A copy of `length` bytes from `offset`. */
  bytes(offset: number, length: number): Uint8Array {
    const copy = new Uint8Array(length);
    this.#eachPiece(offset, length, (bytes, done) => copy.set(bytes, done));
    return copy;
  }

  /** Stores `data` at `offset`. */
  setBytes(offset: number, data: Uint8Array): void {
    this.#eachPiece(offset, data.length, (bytes, done) =>
      bytes.set(data.subarray(done, done + bytes.length)),
    );
  }

  /** Stores `value` in `length` bytes from `offset`. */
  fill(offset: number, length: number, value: number): void {
    this.#eachPiece(offset, length, (bytes) => bytes.fill(value));
  }

  /** Gives the pages back; the area is of no use afterwards. */
  free(): void {
    for (let page = this.page; page < this.page + this.pages; page++) this.#allocator.free(page);
  }

  #eachPiece(offset: number, length: number, take: (bytes: Uint8Array, done: number) => void): void {
    for (let done = 0; done < length; ) {
      const at = (offset + done) % PAGE_SIZE;
      const size = Math.min(length - done, PAGE_SIZE - at);
      const words = this.#words(Math.floor((offset + done) / PAGE_SIZE));
      take(new Uint8Array(words.buffer, words.byteOffset + at, size), done);
      done += size;
    }
  }

  #words(page: number): Uint32Array {
    const cursor = this.#cursor;
    if (this.#memory.locate(this.page + page, cursor, true)) {
      return cursor.words.subarray(cursor.base, cursor.base + PAGE_WORDS);
    }
    throw new VirtioDriverError(
      'outside-ram',
      `the driver's queue is at ${formatPage(this.page + page)}, which is not RAM; give the allocator pages of this memory only`,
    );
  }
}
