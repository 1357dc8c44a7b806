/** Taking leaves and tables out of a tree: what a change of it removes. @module */
import { DecodedEntry, EntryKind } from '../../iommu/index.ts';
import type { PageRange } from '../../memory/index.ts';
import { spanOf } from './table-entry.ts';
import type { TableReader } from './table-reader.ts';

/** Collects what the change under way takes out. Kept from change to change: an unmap of one page is a frequent thing. */
export class TableRemoval {
  readonly #tables: TableReader;
  readonly #entry: DecodedEntry = new DecodedEntry();
  readonly #freed: Set<number> = new Set();
  /** Tables from the root down to the one being changed. */
  readonly #path: number[] = [];
  #start = 0;
  #end = 0;

  constructor(tables: TableReader) {
    this.#tables = tables;
  }

  /** A new change: nothing has been taken out. */
  begin(): void {
    if (this.#freed.size > 0) this.#freed.clear();
    this.#path.length = 0;
    this.#start = 0;
    this.#end = 0;
  }

  /** First page of the hull of the entries cleared, which is empty (equal to `end`) when there were none. */
  get start(): number {
    return this.#start;
  }

  /** Exclusive end of that hull. */
  get end(): number {
    return this.#end;
  }

  /** Tables taken out. */
  get freed(): number[] {
    return this.#freed.size === 0 ? [] : [...this.#freed];
  }

  /** Says that `table` is being changed, or entered through, until `leave`. */
  enter(table: number): void {
    this.#path.push(table);
  }

  leave(): void {
    this.#path.pop();
  }

  /** Leaves every table, after a change that ended half way. */
  leaveAll(): void {
    this.#path.length = 0;
  }

  /** Clears what lies in `range`, in the table at `level` whose entry 0 stands for page `base`, and below it. */
  clear(level: number, table: number, base: number, range: PageRange): void {
    const place = this.#tables.pages.find(table);
    if (place === undefined) return;
    const { words, base: first } = place;
    const span = spanOf(level);
    // Where levels are skipped, the table stands for less than the entry that leads to it.
    const stop = Math.min(range.end, base + spanOf(level + 1));
    const entry = this.#entry;
    this.enter(table);
    let index = Math.floor((range.start - base) / span);
    for (let start = range.start; start < stop; index++) {
      const entryStart = base + index * span;
      const end = Math.min(stop, entryStart + span);
      const at = first + index * 2;
      this.#tables.format.decode(words[at]!, words[at + 1]!, level, entry);
      const { kind, page, nextLevel } = entry;
      if (kind !== EntryKind.NotPresent) {
        const whole = end - start === span;
        if (whole) {
          words[at] = 0;
          words[at + 1] = 0;
          this.#note(start, end);
        }
        if (kind === EntryKind.Table) {
          if (whole) this.collect(nextLevel, page);
          else this.clear(nextLevel, page, entryStart, { start, end });
        }
      }
      start = end;
    }
    this.leave();
  }

  /**
   * Notes `table` and all below it as taken out. Each page once, so that a loop in a foreign guest's tables ends, and
   * none that the tables are still entered through.
   */
  collect(level: number, table: number): void {
    if (this.#freed.has(table) || this.#path.includes(table)) return;
    this.#freed.add(table);
    const place = level === 1 ? undefined : this.#tables.pages.find(table);
    if (place === undefined) return;
    const { words, base } = place;
    const entry = this.#entry;
    for (let at = base; at < base + 1024; at += 2) {
      this.#tables.format.decode(words[at]!, words[at + 1]!, level, entry);
      if (entry.kind === EntryKind.Table) this.collect(entry.nextLevel, entry.page);
    }
  }

  #note(start: number, end: number): void {
    if (this.#end === 0) this.#start = start;
    this.#end = end;
  }
}
