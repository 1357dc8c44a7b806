import { type AddressSpace, formatPage, PAGE_WORDS, PageCursor } from '../../memory/index.ts';
import type { PageAllocator } from '../page-allocator.ts';
import { GuestDriverError } from './error.ts';

/** Pages of guest RAM as a driver takes, clears and writes them. */
export class DriverPages {
  readonly memory: AddressSpace;
  readonly allocator: PageAllocator;
  readonly #cursor: PageCursor = new PageCursor();

  constructor(memory: AddressSpace, allocator: PageAllocator) {
    this.memory = memory;
    this.allocator = allocator;
  }

  /** Where the words of `page` are, for reading and writing, until the next call; undefined outside RAM. */
  find(page: number): PageCursor | undefined {
    return this.memory.locate(page, this.#cursor, true) ? this.#cursor : undefined;
  }

  /**
   * The same for a page that must be RAM.
   *
   * @throws GuestDriverError `outside-ram`
   */
  at(page: number): PageCursor {
    const cursor = this.find(page);
    if (cursor === undefined) {
      throw new GuestDriverError(
        'outside-ram',
        `the guest's IOMMU structures point to ${formatPage(page)}, which is not RAM; check that this is the memory ` +
          'that belongs to these registers',
      );
    }
    return cursor;
  }

  /** The first of `count` zeroed pages side by side. PageAllocatorError when there are none. */
  allocate(count = 1): number {
    const first = this.allocator.allocate(count);
    for (let page = first; page < first + count; page++) {
      const { words, base } = this.at(page);
      words.fill(0, base, base + PAGE_WORDS);
    }
    return first;
  }

  /** Copies `count` words from word `index` of `page`. */
  read(page: number, index: number, count: number): number[] {
    const { words, base } = this.at(page);
    return [...words.subarray(base + index, base + index + count)];
  }

  /** Stores `values` from word `index` of `page` on, the first word last: it holds the bit that makes an entry present. */
  write(page: number, index: number, values: readonly number[]): void {
    const { words, base } = this.at(page);
    for (let i = values.length - 1; i >= 0; i--) words[base + index + i] = values[i] ?? 0;
  }

  /** Gives pages back, but for those that the allocator does not know as used: the tables of a captured guest may name any. */
  free(pages: readonly number[]): void {
    for (const page of pages) if (this.allocator.inUse(page)) this.allocator.free(page);
  }
}
