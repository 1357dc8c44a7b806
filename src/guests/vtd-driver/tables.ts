/** Second-stage tables as a guest's driver writes them in its memory (VT-d 9.8). @module */
import { type Access, formatPage, formatRange, type PageRange } from '../../memory/index.ts';
import { VtdDriverError } from './error.ts';
import type { DriverPages } from './pages.ts';
import {
  alreadyMapped,
  entryWords,
  isLeaf,
  spanOf,
  type TableChange,
  type TableLeaf,
  tableOf,
} from './table-entry.ts';
import { spec } from '../../models/vtd/index.ts';

/** Takes a leaf: its place is word `index` of `table`. Returns false to end the visit. */
type LeafVisit = (leaf: TableLeaf, table: number, index: number) => boolean | void;

/**
 * The tree of second-stage tables under one root. Nothing here tells the unit: see the driver. A table outside RAM, as
 * a foreign guest may have it, counts as empty, but nothing can be mapped in it.
 */
export class SecondStageTables {
  /** Page of the top table. */
  readonly root: number;
  /** Levels, 3 to 5. */
  readonly levels: number;
  readonly #pages: DriverPages;
  readonly #freed: Set<number> = new Set();
  /** Tables from the root down to the one being changed. */
  #path: number[] = [];
  /** Everything before this page has been written by the `map` under way. */
  #written = 0;
  #hullStart = 0;
  #hullEnd = 0;

  constructor(pages: DriverPages, root: number, levels: number) {
    this.#pages = pages;
    this.root = root;
    this.levels = levels;
  }

  /**
   * Writes leaves for `range`, whose first page lies at `target`: each the largest of `leafLevels` (bit n: level n)
   * that alignment and what is left of the range allow. A table in the way of a large leaf is taken out when it is
   * empty. `range` must lie within the tables' width, and the levels must allow to fill it.
   *
   * @returns with `refused` set when something is mapped in the range (VtdDriverError `mapped`) or no page is left
   *   (PageAllocatorError): the leaves written so far are cleared again, tables made for them may stay, empty
   */
  map(range: PageRange, target: number, access: Access, leafLevels: number): TableChange {
    this.#begin();
    this.#written = range.start;
    try {
      this.#fill(this.levels, this.root, 0, range, target, access, leafLevels);
    } catch (refused) {
      this.#path = [];
      this.#clear(this.levels, this.root, 0, { start: range.start, end: this.#written });
      return { ...this.#change(), refused };
    }
    return { start: range.start, end: range.end, freed: [...this.#freed] };
  }

  /**
   * Clears every leaf in `range` and takes out the tables whose whole span lies in it, empty ones too.
   *
   * @throws VtdDriverError `bisects` when a leaf lies partly outside `range`: then nothing has changed
   */
  unmap(range: PageRange): TableChange {
    this.#refuseBisecting(range);
    this.#begin();
    this.#clear(this.levels, this.root, 0, range);
    return this.#change();
  }

  /**
   * Rewrites the leaves of `range`, which must be mapped throughout, at their sizes: new access, and new targets when
   * `target` (where the range's first page shall lie) is given.
   *
   * @throws VtdDriverError `not-mapped`, `bisects`, or `bad-argument` for a target that does not fit a leaf's size:
   *   then nothing has changed
   */
  rewrite(range: PageRange, access: Access, target: number | undefined): TableChange {
    this.#refuseBisecting(range);
    const places: { leaf: TableLeaf; table: number; index: number }[] = [];
    let covered = 0;
    this.#visit(this.levels, this.root, 0, range, (leaf, table, index) => {
      const moved = target === undefined ? leaf.target : target + (leaf.iova - range.start);
      if (moved % leaf.pages !== 0) {
        throw new VtdDriverError(
          'bad-argument',
          `target ${formatPage(moved)} does not fit the leaf of ${leaf.pages} pages at ${formatPage(leaf.iova)}; ` +
            'align it to the size of the leaf',
        );
      }
      places.push({ leaf: { ...leaf, target: moved }, table, index });
      covered += leaf.pages;
    });
    if (covered !== range.end - range.start) {
      throw new VtdDriverError('not-mapped', `not all of ${formatRange(range)} is mapped; map it first`);
    }
    for (const { leaf, table, index } of places) {
      this.#pages.write(table, index, entryWords(leaf.target, access | (leaf.pages > 1 ? spec.SS_PS : 0)));
    }
    return { start: range.start, end: range.end, freed: [] };
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
    this.#visit(this.levels, this.root, 0, range, visit);
  }

  /** Page of the table of `level` on the way to `iova`; undefined when the way ends above it. */
  tableAt(iova: number, level: number): number | undefined {
    let table = this.root;
    for (let at = this.levels; at > level; at--) {
      const index = (Math.floor(iova / spanOf(at)) % 512) * 2;
      const [lo = 0, hi = 0] = this.#pages.read(table, index, 2);
      if ((lo & spec.SS_PRESENT) === 0 || isLeaf(lo, at)) return undefined;
      table = tableOf(lo, hi);
    }
    return table;
  }

  /** Every table, the root included; for a domain that is given up. */
  all(): readonly number[] {
    this.#begin();
    this.#collect(this.levels, this.root);
    return [...this.#freed];
  }

  #begin(): void {
    this.#freed.clear();
    this.#path = [];
    this.#hullStart = 0;
    this.#hullEnd = 0;
  }

  #change(): TableChange {
    return { start: this.#hullStart, end: this.#hullEnd, freed: [...this.#freed] };
  }

  /** One table at `level`, whose entry 0 stands for page `base`; `range` lies within it. */
  #fill(
    level: number,
    table: number,
    base: number,
    range: PageRange,
    target: number,
    access: Access,
    leafLevels: number,
  ): void {
    if (level === 1) {
      this.#fillLeaves(table, base, range, target, access);
      return;
    }
    this.#path.push(table);
    const span = spanOf(level);
    const { words, base: first } = this.#pages.at(table);
    const leafHere = (leafLevels & (1 << level)) !== 0;
    let index = Math.floor((range.start - base) / span);
    for (let start = range.start; start < range.end; index++) {
      const entryStart = base + index * span;
      const end = Math.min(range.end, entryStart + span);
      const to = target + (start - range.start);
      const at = first + index * 2;
      const lo = words[at]!;
      const hi = words[at + 1]!;
      const present = (lo & spec.SS_PRESENT) !== 0;
      if (present && isLeaf(lo, level)) throw alreadyMapped(start);
      if (leafHere && end - start === span && to % span === 0) {
        if (present) this.#takeOutEmpty(level - 1, tableOf(lo, hi), entryStart);
        [words[at], words[at + 1]] = entryWords(to, access | spec.SS_PS) as [number, number];
        this.#written = end;
      } else {
        let child = tableOf(lo, hi);
        if (!present) {
          child = this.#pages.allocate();
          [words[at], words[at + 1]] = entryWords(child, spec.SS_PRESENT) as [number, number];
        }
        this.#fill(level - 1, child, entryStart, { start, end }, to, access, leafLevels);
      }
      start = end;
    }
    this.#path.pop();
  }

  #fillLeaves(table: number, base: number, range: PageRange, target: number, access: Access): void {
    const { words, base: first } = this.#pages.at(table);
    const end = range.end;
    let page = target;
    let at = first + (range.start - base) * 2;
    for (let iova = range.start; iova < end; iova++, page++, at += 2) {
      if ((words[at]! & spec.SS_PRESENT) !== 0) {
        this.#written = iova;
        throw alreadyMapped(iova);
      }
      // The shift keeps the low 20 bits of the page number, however large it is.
      words[at] = (page << 12) | access;
      words[at + 1] = page * 2 ** -20;
    }
    this.#written = end;
  }

  #takeOutEmpty(level: number, table: number, base: number): void {
    const range = { start: base, end: base + spanOf(level + 1) };
    this.#visit(level, table, base, range, (leaf) => {
      throw alreadyMapped(leaf.iova);
    });
    this.#collect(level, table);
  }

  #clear(level: number, table: number, base: number, range: PageRange): void {
    const place = this.#pages.find(table);
    if (place === undefined) return;
    const { words, base: first } = place;
    const span = spanOf(level);
    this.#path.push(table);
    let index = Math.floor((range.start - base) / span);
    for (let start = range.start; start < range.end; index++) {
      const entryStart = base + index * span;
      const end = Math.min(range.end, entryStart + span);
      const at = first + index * 2;
      const lo = words[at]!;
      const hi = words[at + 1]!;
      if ((lo & spec.SS_PRESENT) !== 0) {
        const whole = end - start === span;
        if (whole) {
          words[at] = 0;
          words[at + 1] = 0;
          this.#noteChange(start, end);
        }
        if (!isLeaf(lo, level)) {
          const child = tableOf(lo, hi);
          if (whole) this.#collect(level - 1, child);
          else this.#clear(level - 1, child, entryStart, { start, end });
        }
      }
      start = end;
    }
    this.#path.pop();
  }

  /**
   * Notes `table` and all below it as taken out. Each page once, so that a loop in a foreign guest's tables ends, and
   * none that the tables are still entered through.
   */
  #collect(level: number, table: number): void {
    if (this.#freed.has(table) || this.#path.includes(table)) return;
    this.#freed.add(table);
    const place = level === 1 ? undefined : this.#pages.find(table);
    if (place === undefined) return;
    const { words, base } = place;
    for (let at = base; at < base + 1024; at += 2) {
      const lo = words[at]!;
      if ((lo & spec.SS_PRESENT) !== 0 && !isLeaf(lo, level))
        this.#collect(level - 1, tableOf(lo, words[at + 1]!));
    }
  }

  #visit(level: number, table: number, base: number, range: PageRange, visit: LeafVisit): boolean {
    const place = this.#pages.find(table);
    if (place === undefined) return true;
    const { words, base: first } = place;
    const span = spanOf(level);
    const last = Math.min(512, Math.ceil((range.end - base) / span));
    for (let index = Math.max(0, Math.floor((range.start - base) / span)); index < last; index++) {
      const lo = words[first + index * 2]!;
      if ((lo & spec.SS_PRESENT) === 0) continue;
      const page = tableOf(lo, words[first + index * 2 + 1]!);
      const iova = base + index * span;
      if (isLeaf(lo, level)) {
        const access = (lo & spec.SS_PRESENT) as Access;
        if (visit({ iova, pages: span, target: page, access }, table, index * 2) === false) return false;
      } else if (!this.#visit(level - 1, page, iova, range, visit)) {
        return false;
      }
    }
    return true;
  }

  #refuseBisecting(range: PageRange): void {
    for (const page of [range.start, range.end - 1]) {
      const leaf = this.leafAt(page);
      if (leaf === undefined || (leaf.iova >= range.start && leaf.iova + leaf.pages <= range.end)) continue;
      const whole = formatRange({ start: leaf.iova, end: leaf.iova + leaf.pages });
      throw new VtdDriverError(
        'bisects',
        `${formatRange(range)} cuts the leaf ${whole} in two; name the whole leaf, and map again what shall stay`,
      );
    }
  }

  #noteChange(start: number, end: number): void {
    if (this.#hullEnd === 0) this.#hullStart = start;
    this.#hullEnd = end;
  }
}
