import type { EntryContent } from '../scenario.ts';

/** Pages from `start` to `end`, exclusive. */
export interface Pages {
  readonly start: number;
  readonly end: number;
}

/** Where something of a domain's tables is, and in a table of which level. */
interface Place extends Pages {
  readonly level: number;
}

/** What is known of the tables of one domain: enough to tell whether a driver can carry a step out. */
export class KnownTables {
  readonly #levels: number;
  #leaves: Place[] = [];
  /** New tables in which nothing has been written, by the level of the entries in them. */
  #empty: Place[] = [];
  /** Entries of any content. */
  #raw: Place[] = [];
  /** What has changed since the IOMMU was told of it. */
  #untold: Pages[] = [];
  /** Leaves that went meanwhile, which hosts may still hold. */
  #stale: Pages[] = [];

  constructor(levels: number) {
    this.#levels = levels;
  }

  get leaves(): readonly Pages[] {
    return this.#leaves;
  }

  /** Whether the IOMMU was told of every change. */
  get isTold(): boolean {
    return this.#untold.length === 0;
  }

  /** Leaves in `range`, and those that were there when the IOMMU was last told: what hosts may hold of it. */
  held(range: Pages): readonly Pages[] {
    return [...this.#leaves, ...this.#stale].filter((leaf) => overlap(leaf, range));
  }

  /** Whether hosts may still hold a leaf where there is a smaller one now, or a table. */
  get isSplit(): boolean {
    const smaller = [...this.#leaves, ...this.#empty];
    return this.#stale.some((leaf) =>
      smaller.some(
        ({ start, end, level }) => overlap({ start, end }, leaf) && span(level) < leaf.end - leaf.start,
      ),
    );
  }

  /** The IOMMU is told that `range` has changed, or anything. */
  tell(range?: Pages): void {
    const stays = (place: Pages): boolean => range !== undefined && !inside(place, range);
    this.#untold = this.#untold.filter(stays);
    this.#stale = this.#stale.filter(stays);
  }

  canMap(range: Pages, leafPages: number, target: number): boolean {
    const aligned = [range.start, range.end, target].every((page) => page % leafPages === 0);
    const inside = range.end <= span(this.#levels + 1);
    return aligned && inside && ![...this.#leaves, ...this.#raw].some((place) => overlap(place, range));
  }

  map(range: Pages, leafPages: number): void {
    for (let start = range.start; start < range.end; start += leafPages) {
      this.#leaves.push({ start, end: start + leafPages, level: levelOf(leafPages) });
    }
    this.#empty = this.#empty.filter((place) => !overlap(place, range));
    this.#untold.push(range);
  }

  /** Leaves in `range` are rewritten. */
  remap(range: Pages): void {
    this.#untold.push(range);
  }

  /** Whether `range` begins and ends with a leaf, and cuts nothing. */
  canUnmap(range: Pages): boolean {
    const leaves = this.#leaves.filter((leaf) => overlap(leaf, range));
    return (
      leaves.every((leaf) => inside(leaf, range)) &&
      leaves.some(({ start }) => start === range.start) &&
      leaves.some(({ end }) => end === range.end) &&
      !this.#raw.some((place) => overlap(place, range))
    );
  }

  unmap(range: Pages): void {
    this.#clear(range);
  }

  /** Whether `range` is mapped throughout, and its leaves may lead to `target` and on, or stay where they lead. */
  canRemap(range: Pages, target: number | undefined): boolean {
    const leaves = this.#leaves.filter((leaf) => overlap(leaf, range));
    const mapped = leaves.reduce((sum, { start, end }) => sum + end - start, 0);
    const fits = leaves.every(
      ({ start, end }) => target === undefined || (target + start - range.start) % (end - start) === 0,
    );
    return this.canUnmap(range) && mapped === range.end - range.start && fits;
  }

  /**
   * Whether the table of `level` at `page` is there for certain, and its entry is no part of a leaf. `target` is that of a
   * leaf to write.
   */
  canWrite(level: number, page: number, target: number): boolean {
    if (level > this.#levels || page >= span(this.#levels + 1) || target % span(level) !== 0) return false;
    const entry = around(page, span(level));
    if (this.#leaves.some((leaf) => overlap(leaf, entry) && !inside(leaf, entry))) return false;
    if (level === this.#levels) return true;
    const table = around(page, span(level + 1));
    const leads = (place: Place): boolean => inside(place, table) && place.level <= level;
    return this.#leaves.some(leads) || this.#empty.some(leads);
  }

  write(level: number, page: number, content: EntryContent['is']): void {
    const entry = around(page, span(level));
    this.#clear(entry);
    if (content === 'leaf') this.#leaves.push({ ...entry, level });
    else if (content === 'table') this.#empty.push({ ...entry, level: level - 1 });
    else if (content === 'raw') this.#raw.push({ ...entry, level });
  }

  #clear(range: Pages): void {
    const stays = (place: Place): boolean => !overlap(place, range);
    this.#stale.push(...this.#leaves.filter((leaf) => overlap(leaf, range)));
    this.#untold.push(range);
    this.#leaves = this.#leaves.filter(stays);
    this.#empty = this.#empty.filter(stays);
    this.#raw = this.#raw.filter(stays);
  }
}

/** Pages that an entry of `level` stands for. */
export function span(level: number): number {
  return 512 ** (level - 1);
}

function levelOf(pages: number): number {
  return Math.floor(Math.log2(pages) / 9) + 1;
}

/** The aligned range of `pages` pages that `page` is in. */
export function around(page: number, pages: number): Pages {
  const start = Math.floor(page / pages) * pages;
  return { start, end: start + pages };
}

/** Whether the two have a page in common. */
export function overlap(a: Pages, b: Pages): boolean {
  return a.start < b.end && b.start < a.end;
}

/** Whether `a` lies in `b`. */
export function inside(a: Pages, b: Pages): boolean {
  return a.start >= b.start && a.end <= b.end;
}
