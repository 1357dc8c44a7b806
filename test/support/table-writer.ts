import type { RadixTable, TableMemory } from '../../src/iommu/index.ts';
import { PageCursor } from '../../src/memory/index.ts';
import { CONT, P, PS, R, TEST_FORMAT, W } from './test-format.ts';

/** Pages of an entry at `level`. */
export function spanOf(level: number): number {
  return 512 ** (level - 1);
}

/** Where tables are written and what they are made of. */
export interface TableWriterOptions {
  readonly memory: TableMemory;
  /** Gives the page for the next table, zeroed. */
  readonly allocate: () => number;
  readonly levels: number;
  readonly base?: number;
}

/** Writes tables of the test format into guest memory, as a guest would. */
export class TableWriter implements RadixTable {
  readonly format = TEST_FORMAT;
  readonly memory: TableMemory;
  readonly root: number;
  readonly levels: number;
  readonly base: number;
  /** Tables in use, for counting. */
  tables = 1;
  readonly #allocate: () => number;

  constructor(options: TableWriterOptions) {
    this.memory = options.memory;
    this.#allocate = options.allocate;
    this.levels = options.levels;
    this.base = options.base ?? 0;
    this.root = this.#allocate();
  }

  /** A table of zeros that nothing points at yet; below 4 GiB, so that its address fits into one word. */
  allocateTable(): number {
    this.tables++;
    const page = this.#allocate();
    if (page >= 0x100000) throw new RangeError(`a table at page ${page} lies above 4 GiB`);
    return page;
  }

  /** Writes one entry of any table. */
  setEntry(table: number, index: number, lo: number, hi = 0): void {
    const cursor = new PageCursor();
    if (!this.memory.locate(table, cursor, true)) throw new Error(`no RAM at page ${table}`);
    cursor.words[cursor.base + index * 2] = lo;
    cursor.words[cursor.base + index * 2 + 1] = hi;
  }

  /** Page of the table of `level` on the way to `iova`; tables missing on the way are made. */
  tableAt(iova: number, level: number): number {
    let page = this.root;
    for (let at = this.levels; at > level; at--) {
      const index = this.indexOf(iova, at);
      const lo = this.#word(page, index);
      if ((lo & P) !== 0 && (lo & PS) === 0) {
        page = lo >>> 12;
        continue;
      }
      const next = this.allocateTable();
      this.setEntry(page, index, ((next << 12) | W | R | P) >>> 0);
      page = next;
    }
    return page;
  }

  /** Index of the entry for `iova` in its table of `level`. */
  indexOf(iova: number, level: number): number {
    return Math.floor((iova - this.base) / spanOf(level)) % 512;
  }

  /** One leaf at `level`; `access` as in Access. */
  map(iova: number, target: number, access: number, level = 1): void {
    const size = level === 1 ? 0 : PS;
    this.#leaf(iova, target, level, (access << 1) | size | P);
  }

  /** One leaf that covers sixteen entries at `level`, written into all of them. */
  mapContiguous(iova: number, target: number, access: number, level = 1): void {
    const size = level === 1 ? 0 : PS;
    for (let i = 0; i < 16; i++)
      this.#leaf(iova + i * spanOf(level), target, level, (access << 1) | size | CONT | P);
  }

  /** Clears the entry for `iova` at `level`, whatever it is. */
  clear(iova: number, level = 1): void {
    this.setEntry(this.tableAt(iova, level), this.indexOf(iova, level), 0);
  }

  #leaf(iova: number, target: number, level: number, bits: number): void {
    const lo = ((target % 0x100000) * 4096 + bits) >>> 0;
    this.setEntry(this.tableAt(iova, level), this.indexOf(iova, level), lo, Math.floor(target / 0x100000));
  }

  #word(table: number, index: number): number {
    const cursor = new PageCursor();
    if (!this.memory.locate(table, cursor)) throw new Error(`no RAM at page ${table}`);
    return cursor.words[cursor.base + index * 2];
  }
}
