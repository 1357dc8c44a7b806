/** The mappings of one domain without any cleverness: a Map of leaves, and what was there before. @module */

/** A leaf as it stands in the tables. Page numbers; `pages` is 1, 512 or 262,144 and `iova` a multiple of it. */
export interface NaiveLeaf {
  readonly iova: number;
  readonly pages: number;
  readonly target: number;
  readonly access: number;
  /** A reserved bit is set: the leaf maps nothing. */
  readonly bad?: boolean;
}

/** Pages from `start` (inclusive) to `end` (exclusive). */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** What a range of pages held before a change of which the unit may not know yet. */
interface Outdated extends Span {
  readonly before: readonly NaiveLeaf[];
  /** Number of the step that made the change. */
  readonly step: number;
}

/** Requests to these pages are interrupts, never memory. */
export const INTERRUPTS: Span = { start: 0xfee00, end: 0xfef00 };

const SIZES = [1, 512, 512 * 512] as const;

/** The range from the first page of all leaves to the last; undefined when there are none. */
export function hullOf(leaves: readonly NaiveLeaf[]): Span | undefined {
  if (leaves.length === 0) return undefined;
  let start = Number.POSITIVE_INFINITY;
  let end = 0;
  for (const { iova, pages } of leaves) {
    start = Math.min(start, iova);
    end = Math.max(end, iova + pages);
  }
  return { start, end };
}

/** Pages that an entry of a table at `level` covers. */
export function spanOf(level: number): number {
  return 512 ** (level - 1);
}

/**
 * One domain. Whoever writes tables says the same here; whoever invalidates says what has been confirmed. Until then
 * a cache may hold what was there before.
 */
export class NaiveDomain {
  readonly levels: number;
  readonly #leaves: Map<number, NaiveLeaf> = new Map();
  /** What table entries allow that do not allow everything, by level and index. */
  readonly #masks: Map<string, { readonly level: number; readonly index: number; readonly access: number }> =
    new Map();
  #outdated: Outdated[] = [];

  constructor(levels: number) {
    this.levels = levels;
  }

  /** Every leaf as it stands, those that map nothing included; in no order. */
  get raw(): readonly NaiveLeaf[] {
    return [...this.#leaves.values()];
  }

  /** The leaf as it stands at `page`. */
  rawAt(page: number): NaiveLeaf | undefined {
    for (const size of SIZES) {
      const leaf = this.#leaves.get(Math.floor(page / size) * size);
      if (leaf?.pages === size) return leaf;
    }
    return undefined;
  }

  /** Leaves as they stand that lie in, or reach into, a range. */
  rawWithin({ start, end }: Span): NaiveLeaf[] {
    return this.raw.filter(({ iova, pages }) => iova < end && iova + pages > start);
  }

  /** What devices may use now, ascending: with the access that the tables above leave. */
  get effective(): NaiveLeaf[] {
    return this.raw
      .map((leaf) => this.#effective(leaf))
      .filter((leaf) => leaf !== undefined)
      .toSorted((a, b) => a.iova - b.iova);
  }

  /** What devices may use at `page` now. */
  at(page: number): NaiveLeaf | undefined {
    const leaf = this.rawAt(page);
    return leaf === undefined ? undefined : this.#effective(leaf);
  }

  /** What devices could use at `page`, or that they could use nothing, before each change since it was last invalidated. */
  before(page: number): (NaiveLeaf | undefined)[] {
    return this.#outdated
      .filter(({ start, end }) => page >= start && page < end)
      .map(({ before }) => before.find(({ iova, pages }) => page >= iova && page < iova + pages));
  }

  /** Ranges that changed and were not invalidated since. */
  get outdated(): readonly Span[] {
    return this.#outdated;
  }

  /** Puts leaves that lie side by side in the place of the entries that they overwrite. */
  put(leaves: readonly NaiveLeaf[], step: number): void {
    const changed = hullOf(leaves);
    if (changed === undefined) return;
    this.#note(changed, step);
    for (const { iova } of this.rawWithin(changed)) this.#leaves.delete(iova);
    for (const leaf of leaves) {
      if (leaf.pages > 1) this.#forgetTables({ start: leaf.iova, end: leaf.iova + leaf.pages });
      this.#leaves.set(leaf.iova, leaf);
    }
  }

  /** Clears a range that cuts no leaf, and forgets the tables that lie wholly in it; then puts `leaves` there. */
  replace(range: Span, leaves: readonly NaiveLeaf[], step: number): void {
    const there = this.rawWithin(range);
    const changed = hullOf([...there, ...leaves]);
    if (changed !== undefined) this.#note(changed, step);
    for (const { iova } of there) this.#leaves.delete(iova);
    this.#forgetTables(range);
    for (const leaf of leaves) this.#leaves.set(leaf.iova, leaf);
  }

  /** What the entry at `level` that covers `page`, a table, allows from now on. */
  restrict(level: number, page: number, access: number, step: number): void {
    const index = Math.floor(page / spanOf(level));
    this.#note({ start: index * spanOf(level), end: (index + 1) * spanOf(level) }, step);
    this.#masks.set(`${level}:${index}`, { level, index, access });
  }

  /**
   * The guest has seen confirmed that nothing older than `step` is cached of a range, nor of any leaf that reached into
   * it: with one of its pages, all of a leaf goes.
   */
  confirm(range: Span, step: number): void {
    this.#outdated = this.#outdated.flatMap((old) => {
      if (old.step > step) return [old];
      const gone = old.before
        .flatMap(aroundInterrupts)
        .map(({ iova, pages }) => ({ start: iova, end: iova + pages }))
        .filter((leaf) => overlap(leaf, range));
      return [range, ...gone].reduce((rest, span) => rest.flatMap((piece) => without(piece, span)), [old]);
    });
  }

  #forgetTables(range: Span): void {
    for (const [key, { level, index }] of this.#masks) {
      const start = index * spanOf(level);
      if (start >= range.start && start + spanOf(level) <= range.end) this.#masks.delete(key);
    }
  }

  #note(range: Span, step: number): void {
    const before = this.rawWithin(range)
      .map((leaf) => this.#effective(leaf))
      .filter((leaf) => leaf !== undefined);
    this.#outdated.push({ ...range, before, step });
  }

  #effective(leaf: NaiveLeaf): NaiveLeaf | undefined {
    let access = leaf.bad === true ? 0 : leaf.access;
    for (const { level, index, access: mask } of this.#masks.values()) {
      const above = spanOf(level) > leaf.pages;
      if (above && Math.floor(leaf.iova / spanOf(level)) === index) access &= mask;
    }
    return access === 0 ? undefined : { iova: leaf.iova, pages: leaf.pages, target: leaf.target, access };
  }
}

function overlap(a: Span, b: Span): boolean {
  return a.start < b.end && b.start < a.end;
}

/** What `removed` leaves of a piece. */
function without<T extends Span>(piece: T, removed: Span): T[] {
  if (!overlap(piece, removed)) return [piece];
  const rest: T[] = [];
  if (piece.start < removed.start) rest.push({ ...piece, end: removed.start });
  if (piece.end > removed.end) rest.push({ ...piece, start: removed.end });
  return rest;
}

/** The parts of a leaf on either side of the interrupt range. */
export function aroundInterrupts(leaf: NaiveLeaf): NaiveLeaf[] {
  const end = leaf.iova + leaf.pages;
  const part = (from: number, to: number): NaiveLeaf => ({
    ...leaf,
    iova: from,
    pages: to - from,
    target: leaf.target + (from - leaf.iova),
  });
  return [
    part(leaf.iova, Math.min(end, INTERRUPTS.start)),
    part(Math.max(leaf.iova, INTERRUPTS.end), end),
  ].filter(({ pages }) => pages > 0);
}
