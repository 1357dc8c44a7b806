/** Writing leaves into a tree of tables: one mapping. @module */
import { DecodedEntry, EntryKind } from '../../iommu/index.ts';
import type { Access, PageRange } from '../../memory/index.ts';
import { alreadyMapped, levelOfLeaf, spanOf } from './table-entry.ts';
import { EntryWords } from './table-format.ts';
import type { TableReader } from './table-reader.ts';
import type { TableRemoval } from './table-removal.ts';

/** Pages of the leaves to use, descending, by the level of the table that they lie in (0 to 6; 0 has none). */
export type LeafSizes = readonly (readonly number[])[];

/** How leaves are written. */
export interface FillOptions {
  readonly access: Access;
  readonly sizes: LeafSizes;
  /** New tables are linked past the levels that have only one entry to use, where the format can say so. */
  readonly skipping: boolean;
}

/** Fills a range; throws GuestDriverError `mapped`, `outside-ram` and PageAllocatorError with part of it written. */
export class TableFill {
  readonly #tables: TableReader;
  readonly #removal: TableRemoval;
  readonly #access: Access;
  readonly #skipping: boolean;
  readonly #sizes: LeafSizes;
  readonly #entry: DecodedEntry = new DecodedEntry();
  readonly #new: EntryWords = new EntryWords();
  #written: number;
  #relinked = false;

  /** `start` is the first page that will be filled. */
  constructor(tables: TableReader, removal: TableRemoval, options: FillOptions, start: number) {
    this.#tables = tables;
    this.#removal = removal;
    this.#access = options.access;
    this.#skipping = options.skipping;
    this.#sizes = options.sizes;
    this.#written = start;
  }

  /** Every page of the range before this one is mapped. */
  get written(): number {
    return this.#written;
  }

  /** An entry that led to a table now leads there by way of another. */
  get relinked(): boolean {
    return this.#relinked;
  }

  /** Fills `range`, which lies within the table at `level`, whose entry 0 stands for page `base`. */
  fill(level: number, table: number, base: number, range: PageRange, target: number): void {
    if (level === 1 && this.#sizes[1]![0] === 1) {
      this.#fillSmall(table, base, range, target);
      return;
    }
    this.#removal.enter(table);
    const { words, base: first } = this.#tables.pages.at(table);
    const span = spanOf(level);
    for (let start = range.start; start < range.end; ) {
      const index = Math.floor((start - base) / span);
      const to = target + (start - range.start);
      const at = first + index * 2;
      const size = this.#leafSize(level, start, to, range.end);
      let end = start + size;
      if (size > 0) {
        this.#writeLeaf(level, words, at, start, to, size);
        this.#written = end;
      } else {
        const entryStart = base + index * span;
        end = Math.min(range.end, entryStart + span);
        this.#descend(level, words, at, entryStart, { start, end }, to);
      }
      start = end;
    }
    this.#removal.leave();
  }

  /** The common case of `fill`: at level 1, with leaves of one page only. */
  #fillSmall(table: number, base: number, range: PageRange, target: number): void {
    const { words, base: first } = this.#tables.pages.at(table);
    const { format } = this.#tables;
    const entry = this.#entry;
    const leaf = this.#new;
    let at = first + (range.start - base) * 2;
    for (let iova = range.start; iova < range.end; iova++, at += 2) {
      format.decode(words[at]!, words[at + 1]!, 1, entry);
      if (entry.kind !== EntryKind.NotPresent) {
        this.#written = iova;
        throw alreadyMapped(iova);
      }
      format.encodeLeaf(leaf, target + (iova - range.start), 1, this.#access, 1);
      words[at] = leaf.lo;
      words[at + 1] = leaf.hi;
    }
    this.#written = range.end;
  }

  /** The largest leaf for this place, 0 when none fits at this level. */
  #leafSize(level: number, start: number, to: number, end: number): number {
    for (const size of this.#sizes[level]!) {
      if (start % size === 0 && to % size === 0 && end - start >= size) return size;
    }
    return 0;
  }

  #writeLeaf(
    level: number,
    words: Uint32Array,
    at: number,
    start: number,
    target: number,
    size: number,
  ): void {
    const end = at + (size / spanOf(level)) * 2;
    this.#takeOutEmpty(level, words, at, end, start);
    const leaf = this.#new;
    this.#tables.format.encodeLeaf(leaf, target, size, this.#access, level);
    for (let i = at; i < end; i += 2) {
      words[i] = leaf.lo;
      words[i + 1] = leaf.hi;
    }
  }

  /** Takes out the tables that the entries from word `at` to `end` lead to, when all of them are empty. */
  #takeOutEmpty(level: number, words: Uint32Array, at: number, end: number, start: number): void {
    const entry = this.#entry;
    const span = spanOf(level);
    let tables = false;
    for (let i = at, iova = start; i < end; i += 2, iova += span) {
      this.#tables.format.decode(words[i]!, words[i + 1]!, level, entry);
      if (entry.kind === EntryKind.NotPresent) continue;
      if (entry.kind !== EntryKind.Table) throw alreadyMapped(iova);
      tables = true;
      this.#tables.visit(entry.nextLevel, entry.page, iova, { start: iova, end: iova + span }, (leaf) => {
        throw alreadyMapped(leaf.iova);
      });
    }
    if (!tables) return;
    for (let i = at; i < end; i += 2) {
      this.#tables.format.decode(words[i]!, words[i + 1]!, level, entry);
      if (entry.kind === EntryKind.Table) this.#removal.collect(entry.nextLevel, entry.page);
    }
  }

  /** Fills `range`, a part of what the entry at word `at` stands for, below it. */
  #descend(
    level: number,
    words: Uint32Array,
    at: number,
    entryStart: number,
    range: PageRange,
    target: number,
  ): void {
    const entry = this.#entry;
    this.#tables.format.decode(words[at]!, words[at + 1]!, level, entry);
    const { kind } = entry;
    if (kind === EntryKind.Leaf || kind === EntryKind.Fault) throw alreadyMapped(range.start);
    let { page: table, nextLevel: below } = entry;
    const offset = range.end - entryStart;
    if (kind === EntryKind.NotPresent || offset > spanOf(below + 1)) {
      const skipped = kind === EntryKind.Table;
      const link = this.#new;
      const made = this.#tables.pages.allocate();
      if (skipped) {
        this.#tables.format.encodeTable(link, table, below);
        this.#tables.pages.write(made, 0, [link.lo, link.hi]);
        this.#relinked = true;
      }
      table = made;
      below = this.#levelBelow(level, offset);
      this.#tables.format.encodeTable(link, table, below);
      words[at] = link.lo;
      words[at + 1] = link.hi;
    }
    this.fill(below, table, entryStart, range, target);
  }

  /** Level of a new table under an entry at `level` of which everything before `offset` is to be reached. */
  #levelBelow(level: number, offset: number): number {
    if (!this.#skipping) return level - 1;
    // A table that `offset` fills would have no room for one leaf of all of it.
    let below = 1;
    while (below < level - 1 && offset >= spanOf(below + 1)) below++;
    return below;
  }
}

/** `sizes`, descending, by level. */
export function leafSizesByLevel(sizes: readonly number[]): LeafSizes {
  return Array.from({ length: 7 }, (_, level) => sizes.filter((size) => levelOfLeaf(size) === level));
}
