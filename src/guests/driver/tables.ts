/** Tables as a guest's driver writes them in its memory. @module */
import { type Access, formatPage, formatRange, type PageRange } from '../../memory/index.ts';
import { GuestDriverError } from './error.ts';
import type { DriverPages } from './pages.ts';
import { spanOf, type TableChange, type TableLeaf } from './table-entry.ts';
import { type FillOptions, TableFill } from './table-fill.ts';
import { EntryWords, type GuestTableFormat } from './table-format.ts';
import { TableReader } from './table-reader.ts';
import { TableRemoval } from './table-removal.ts';

/**
 * The tree of tables under one root. Nothing here tells the unit: see the driver. A table outside RAM, as a foreign guest
 * may have it, counts as empty, but nothing can be mapped in it.
 */
export class GuestTables {
  /** Page of the top table. */
  readonly root: number;
  /** Level of the top table, 1 to 6. */
  readonly levels: number;
  readonly #pages: DriverPages;
  readonly #reader: TableReader;
  readonly #removal: TableRemoval;

  constructor(pages: DriverPages, format: GuestTableFormat, root: number, levels: number) {
    this.#pages = pages;
    this.#reader = new TableReader(pages, format);
    this.#removal = new TableRemoval(this.#reader);
    this.root = root;
    this.levels = levels;
  }

  /**
   * Writes leaves for `range`, whose first page lies at `target`: each the largest of the sizes given that alignment and
   * what is left of the range allow. A table in the way of a large leaf is taken out when it is empty. `range` must lie
   * within the tables' width, and the sizes must allow to fill it.
   *
   * @returns with `refused` set when something is mapped in the range (GuestDriverError `mapped`) or no page is left
   *   (PageAllocatorError): the leaves written so far are cleared again, tables made for them may stay, empty
   */
  map(range: PageRange, target: number, options: FillOptions): TableChange {
    const removal = this.#begin();
    const fill = new TableFill(this.#reader, removal, options, range.start);
    try {
      fill.fill(this.levels, this.root, 0, range, target);
    } catch (refused) {
      removal.leaveAll();
      removal.clear(this.levels, this.root, 0, { start: range.start, end: fill.written });
      const { start, end } = fill.relinked ? range : removal;
      return { start, end, freed: removal.freed, relinked: fill.relinked, refused };
    }
    return { start: range.start, end: range.end, freed: removal.freed, relinked: fill.relinked };
  }

  /**
   * Clears every leaf in `range` and takes out the tables whose whole span lies in it, empty ones too.
   *
   * @throws GuestDriverError `bisects` when a leaf lies partly outside `range`: then nothing has changed
   */
  unmap(range: PageRange): TableChange {
    this.#refuseBisecting(range);
    const removal = this.#begin();
    removal.clear(this.levels, this.root, 0, range);
    return { start: removal.start, end: removal.end, freed: removal.freed, relinked: false };
  }

  /**
   * Rewrites the leaves of `range`, which must be mapped throughout, at their sizes: new access, and new targets when
   * `target` (where the range's first page shall lie) is given.
   *
   * @throws GuestDriverError `not-mapped`, `bisects`, or `bad-argument` for a target that does not fit a leaf's size:
   *   then nothing has changed
   */
  rewrite(range: PageRange, access: Access, target: number | undefined): TableChange {
    this.#refuseBisecting(range);
    const places: { leaf: TableLeaf; table: number; index: number; level: number }[] = [];
    let covered = 0;
    this.#reader.visit(this.levels, this.root, 0, range, (leaf, table, index, level) => {
      const moved = target === undefined ? leaf.target : target + (leaf.iova - range.start);
      if (moved % leaf.pages !== 0) {
        throw new GuestDriverError(
          'bad-argument',
          `target ${formatPage(moved)} does not fit the leaf of ${leaf.pages} pages at ${formatPage(leaf.iova)}; ` +
            'align it to the size of the leaf',
        );
      }
      places.push({ leaf: { ...leaf, target: moved }, table, index, level });
      covered += leaf.pages;
    });
    if (covered !== range.end - range.start) {
      throw new GuestDriverError('not-mapped', `not all of ${formatRange(range)} is mapped; map it first`);
    }
    const words = new EntryWords();
    for (const { leaf, table, index, level } of places) {
      this.#reader.format.encodeLeaf(words, leaf.target, leaf.pages, access, level);
      const entries = leaf.pages / spanOf(level);
      for (let i = 0; i < entries; i++) this.#pages.write(table, index + i * 2, [words.lo, words.hi]);
    }
    return { start: range.start, end: range.end, freed: [], relinked: false };
  }

  /** The leaf that covers `page`, or undefined. */
  leafAt(page: number): TableLeaf | undefined {
    let found: TableLeaf | undefined;
    this.visit({ start: page, end: page + 1 }, (leaf) => {
      found = leaf;
    });
    return found;
  }

  /** Visits the leaves that overlap `range`, ascending, each whole, until `visit` returns false. */
  visit(range: PageRange, visit: (leaf: TableLeaf) => boolean | void): void {
    this.#reader.visit(this.levels, this.root, 0, range, visit);
  }

  /** Page of the table of `level` on the way to `iova`; undefined when the way has none. */
  tableAt(iova: number, level: number): number | undefined {
    return this.#reader.tableAt(this.root, this.levels, iova, level);
  }

  /** Every table, the root included; for a domain that is given up. */
  all(): readonly number[] {
    const removal = this.#begin();
    removal.collect(this.levels, this.root);
    return removal.freed;
  }

  #begin(): TableRemoval {
    this.#removal.begin();
    return this.#removal;
  }

  #refuseBisecting(range: PageRange): void {
    for (const page of [range.start, range.end - 1]) {
      const leaf = this.leafAt(page);
      if (leaf === undefined || (leaf.iova >= range.start && leaf.iova + leaf.pages <= range.end)) continue;
      const whole = formatRange({ start: leaf.iova, end: leaf.iova + leaf.pages });
      throw new GuestDriverError(
        'bisects',
        `${formatRange(range)} cuts the leaf ${whole} in two; name the whole leaf, and map again what shall stay`,
      );
    }
  }
}
