/** Tables as they stand in guest memory, read. @module */
import { DecodedEntry, EntryKind } from '../../iommu/index.ts';
import type { Access, PageRange } from '../../memory/index.ts';
import type { DriverPages } from './pages.ts';
import { spanOf, type TableLeaf } from './table-entry.ts';
import type { GuestTableFormat } from './table-format.ts';

/** Takes a leaf, whose first entry is words `index` and `index` + 1 of `table` at `level`. Returns false to end the visit. */
export type LeafVisit = (leaf: TableLeaf, table: number, index: number, level: number) => boolean | void;

/** Reads a tree of tables. A table outside RAM, as a foreign guest may have it, counts as empty. */
export class TableReader {
  readonly format: GuestTableFormat;
  readonly pages: DriverPages;
  readonly #entry: DecodedEntry = new DecodedEntry();

  constructor(pages: DriverPages, format: GuestTableFormat) {
    this.pages = pages;
    this.format = format;
  }

  /**
   * Visits the leaves that overlap `range`, ascending, each whole and once, in the table at `level` whose entry 0 stands
   * for page `base`, and below it.
   *
   * @returns false when `visit` ended it
   */
  visit(level: number, table: number, base: number, range: PageRange, visit: LeafVisit): boolean {
    const place = this.pages.find(table);
    if (place === undefined) return true;
    const { words, base: first } = place;
    const span = spanOf(level);
    const last = Math.min(512, Math.ceil((range.end - base) / span));
    const entry = this.#entry;
    for (let index = Math.max(0, Math.floor((range.start - base) / span)); index < last; index++) {
      this.format.decode(words[first + index * 2]!, words[first + index * 2 + 1]!, level, entry);
      if (entry.kind === EntryKind.Leaf) {
        const { pages, page: target } = entry;
        const entries = pages / span;
        index -= index % entries;
        const leaf = { iova: base + index * span, pages, target, access: entry.access as Access };
        if (visit(leaf, table, index * 2, level) === false) return false;
        index += entries - 1;
      } else if (entry.kind === EntryKind.Table) {
        if (!this.visit(entry.nextLevel, entry.page, base + index * span, range, visit)) return false;
      }
    }
    return true;
  }

  /** Page of the table of `level` on the way from `root`, at `levels`, to `iova`; undefined when the way has none. */
  tableAt(root: number, levels: number, iova: number, level: number): number | undefined {
    let table = root;
    let at = levels;
    while (at > level) {
      const index = Math.floor(iova / spanOf(at)) % 512;
      const [lo = 0, hi = 0] = this.pages.read(table, index * 2, 2);
      this.format.decode(lo, hi, at, this.#entry);
      const { kind, nextLevel, page } = this.#entry;
      if (kind !== EntryKind.Table) return undefined;
      // Where levels are skipped, the entry leads only to what their index of 0 stands for.
      if (iova % spanOf(at) >= spanOf(nextLevel + 1)) return undefined;
      table = page;
      at = nextLevel;
    }
    return at === level ? table : undefined;
  }
}
