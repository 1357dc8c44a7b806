/** Radix trees of paging tables, written entry by entry. @module */
import type { Guest } from './table-builder.ts';

const address = (page: number): bigint => BigInt(page) << 12n;

/** Pages of an entry at `level`. */
export function spanOf(level: number): number {
  return 512 ** (level - 1);
}

/** Where a table is: the address that entries name, and the page of guest memory in which it is written. */
export interface TablePlace {
  readonly pointer: number;
  readonly page: number;
}

/** R and W of every entry on the way; for first-stage tables also U/S. */
export const SECOND_STAGE_TABLE = 0b11n;
export const FIRST_STAGE_TABLE = 0b111n;
/** PS. */
export const PS: bigint = 1n << 7n;

/** One radix tree of tables. Input pages count from entry 0 of the root; a canonical upper half is cut to that. */
export class TableTree {
  readonly guest: Guest;
  readonly levels: number;
  /** Pointer to the top table. */
  readonly root: number;
  /** Low bits of entries that name tables. */
  readonly #tableBits: bigint;
  readonly #allocate: () => TablePlace;
  readonly #pages: Map<number, number> = new Map();

  constructor(
    guest: Guest,
    levels: number,
    tableBits: bigint = SECOND_STAGE_TABLE,
    allocate?: () => TablePlace,
  ) {
    this.guest = guest;
    this.levels = levels;
    this.#tableBits = tableBits;
    this.#allocate =
      allocate ??
      (() => {
        const page = guest.newPage();
        return { pointer: page, page };
      });
    this.root = this.#newTable();
  }

  /** Pointers of all tables made. */
  get tables(): readonly number[] {
    return [...this.#pages.keys()];
  }

  /** Page of guest memory in which the table at `pointer` is written. */
  pageOf(pointer: number): number {
    const page = this.#pages.get(pointer);
    if (page === undefined) throw new Error(`no table at 0x${pointer.toString(16)}`);
    return page;
  }

  /** Pointer to the table of `level` for input page `iova`; tables missing on the way are made. */
  tableAt(iova: number, level: number): number {
    let pointer = this.root;
    for (let at = this.levels; at > level; at--) {
      const page = this.pageOf(pointer);
      const index = this.indexOf(iova, at);
      const entry = this.guest.get(page, index);
      const next = Number((entry >> 12n) & 0xffffffffffn);
      if ((entry & PS) === 0n && this.#pages.has(next)) {
        pointer = next;
      } else {
        pointer = this.#newTable();
        this.guest.set(page, index, address(pointer) | this.#tableBits);
      }
    }
    return pointer;
  }

  /** Index of the entry for `iova` in its table of `level`. */
  indexOf(iova: number, level: number): number {
    const fromRoot = iova % 512 ** this.levels;
    return Math.floor(fromRoot / spanOf(level)) % 512;
  }

  /** Writes the whole entry of `level` for `iova`. */
  setEntry(iova: number, level: number, value: bigint): void {
    this.guest.set(this.pageOf(this.tableAt(iova, level)), this.indexOf(iova, level), value);
  }

  getEntry(iova: number, level: number): bigint {
    return this.guest.get(this.pageOf(this.tableAt(iova, level)), this.indexOf(iova, level));
  }

  /** Replaces `bits` of the entry of `level` for `iova`, leaving its address. */
  setBits(iova: number, level: number, bits: bigint, mask = 0b111n): void {
    this.setEntry(iova, level, (this.getEntry(iova, level) & ~mask) | bits);
  }

  /** A leaf of `level`; `bits` are R and W (and U/S), and whatever else is to be set. */
  map(iova: number, level: number, target: number, bits: bigint): void {
    this.setEntry(iova, level, address(target) | (level > 1 ? PS : 0n) | bits);
  }

  #newTable(): number {
    const { pointer, page } = this.#allocate();
    this.#pages.set(pointer, page);
    return pointer;
  }
}
