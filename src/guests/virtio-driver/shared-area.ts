import { addressOf, PAGE_SIZE } from '../../memory/index.ts';
import type { DriverPages } from '../driver/pages.ts';

/** Pages of guest RAM side by side that a driver shares with its device. Offsets are bytes from the first page. */
export class SharedArea {
  readonly page: number;
  readonly count: number;
  readonly #pages: DriverPages;

  /** Takes `count` pages and clears them. PageAllocatorError when there are none. */
  constructor(pages: DriverPages, count: number) {
    this.#pages = pages;
    this.count = count;
    this.page = pages.allocate(count);
  }

  /** Guest-physical byte address of `offset`. */
  address(offset: number): bigint {
    return addressOf(this.page) + BigInt(offset);
  }

  /** The 32-bit word at `offset`, a multiple of 4. */
  word(offset: number): number {
    const { words, base } = this.#at(offset);
    return words[base + (offset % PAGE_SIZE) / 4] as number;
  }

  /** The 16 bits at `offset`, a multiple of 2. */
  half(offset: number): number {
    return (this.word(offset & ~3) >>> ((offset & 2) * 8)) & 0xffff;
  }

  /** Stores them. */
  setHalf(offset: number, value: number): void {
    const shift = (offset & 2) * 8;
    const { words, base } = this.#at(offset);
    const at = base + ((offset & ~3) % PAGE_SIZE) / 4;
    words[at] = ((words[at] as number) & ~(0xffff << shift)) | ((value & 0xffff) << shift);
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
    this.#pages.free(Array.from({ length: this.count }, (_, i) => this.page + i));
  }

  #eachPiece(offset: number, length: number, take: (bytes: Uint8Array, done: number) => void): void {
    for (let done = 0; done < length; ) {
      const at = (offset + done) % PAGE_SIZE;
      const size = Math.min(length - done, PAGE_SIZE - at);
      const { words, base } = this.#at(offset + done);
      take(new Uint8Array(words.buffer, words.byteOffset + base * 4 + at, size), done);
      done += size;
    }
  }

  #at(offset: number): ReturnType<DriverPages['at']> {
    return this.#pages.at(this.page + Math.floor(offset / PAGE_SIZE));
  }
}
