import { PAGE_SIZE, PAGE_WORDS, type PageCursor, type RamBlock } from '../memory/index.ts';
import { type FileMapping, WINDOW_BYTES } from './file-mapping.ts';

const WINDOW_PAGES: number = WINDOW_BYTES / PAGE_SIZE;

/** A mapped file as RAM: what is read and written is the file. */
export class MappedRamBlock implements RamBlock {
  readonly pages: number;
  readonly #mapping: FileMapping;

  /** The mapping stays the caller's; it must not be released while the block is used. */
  constructor(mapping: FileMapping) {
    this.#mapping = mapping;
    this.pages = mapping.bytes / PAGE_SIZE;
  }

  locate(page: number, cursor: PageCursor, _forWrite: boolean): void {
    cursor.words = this.#mapping.window(Math.floor(page / WINDOW_PAGES));
    cursor.base = (page % WINDOW_PAGES) * PAGE_WORDS;
  }
}
