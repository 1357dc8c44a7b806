import { formatRange, type PageRange } from '../memory/index.ts';

/** What a {@link PageAllocatorError} is about, in one stable word. */
export type PageAllocatorErrorCode =
  /** No free run of the wanted length is left. */
  | 'out-of-memory'
  /** A page was given back that is free already or was never RAM. */
  | 'not-in-use';

/** The guest's memory cannot give or take back a page. */
export class PageAllocatorError extends Error {
  override readonly name: string = 'PageAllocatorError';
  readonly code: PageAllocatorErrorCode;

  constructor(code: PageAllocatorErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * Hands out pages of guest RAM that nothing uses, from the top down, as a guest's page allocator would. It knows page
 * numbers only: contents are the caller's.
 */
export class PageAllocator {
  /** Guest RAM, ascending. */
  readonly ram: readonly PageRange[];
  /** Free and never handed out, ascending, disjoint. */
  #fresh: PageRange[];
  /** Given back; handed out again before fresh pages. */
  readonly #returned: number[] = [];
  readonly #returnedSet: Set<number> = new Set();

  /**
   * @param ram ranges of guest RAM, disjoint
   * @param used pages of it that must not be handed out: tables of a captured guest, targets of DMA; in any order, and
   *   they may overlap or lie outside RAM
   */
  constructor(ram: Iterable<PageRange>, used: Iterable<PageRange> = []) {
    this.ram = [...ram].sort((a, b) => a.start - b.start);
    this.#fresh = subtract(this.ram, used);
  }

  /** Pages that are free. */
  get available(): number {
    return this.#fresh.reduce((sum, { start, end }) => sum + (end - start), this.#returned.length);
  }

  /**
   * The first of `pages` free pages that lie side by side, now in use. Their content is whatever it was.
   *
   * @throws PageAllocatorError `out-of-memory`
   */
  allocate(pages = 1): number {
    if (pages === 1) {
      const returned = this.#returned.pop();
      if (returned !== undefined) {
        this.#returnedSet.delete(returned);
        return returned;
      }
    }
    for (let i = this.#fresh.length - 1; i >= 0; i--) {
      const { start, end } = this.#fresh[i] as PageRange;
      if (end - start < pages) continue;
      if (end - start === pages) this.#fresh.splice(i, 1);
      else this.#fresh[i] = { start, end: end - pages };
      return end - pages;
    }
    const wanted = pages === 1 ? 'page' : `run of ${pages} pages`;
    throw new PageAllocatorError(
      'out-of-memory',
      `guest RAM has no free ${wanted} left (${this.available} pages are free); give the guest more RAM or map less`,
    );
  }

  /** Takes `range` out of what may be handed out; parts of it that are in use or no RAM are left as they are. */
  reserve(range: PageRange): void {
    this.#fresh = subtract(this.#fresh, [range]);
    const kept = this.#returned.filter((page) => page < range.start || page >= range.end);
    if (kept.length === this.#returned.length) return;
    this.#returned.splice(0, this.#returned.length, ...kept);
    this.#returnedSet.clear();
    for (const page of kept) this.#returnedSet.add(page);
  }

  /** Whether the page is RAM and not free. */
  inUse(page: number): boolean {
    const holds = (range: PageRange): boolean => page >= range.start && page < range.end;
    return !this.#returnedSet.has(page) && !this.#fresh.some(holds) && this.ram.some(holds);
  }

  /**
   * Takes back a page that is in use, whoever took it: also one that the captured guest did.
   *
   * @throws PageAllocatorError `not-in-use` for a page that is free already or is no RAM
   */
  free(page: number): void {
    if (!this.inUse(page)) {
      const range = formatRange({ start: page, end: page + 1 });
      throw new PageAllocatorError(
        'not-in-use',
        `page ${range} cannot be freed: it is free already, or no RAM`,
      );
    }
    this.#returned.push(page);
    this.#returnedSet.add(page);
  }
}

/** What of `from` (ascending, disjoint) no range of `removed` covers. */
function subtract(from: readonly PageRange[], removed: Iterable<PageRange>): PageRange[] {
  const holes = [...removed].filter(({ start, end }) => start < end).sort((a, b) => a.start - b.start);
  const rest: PageRange[] = [];
  let hole = 0;
  for (const { start, end } of from) {
    let next = start;
    while (hole < holes.length && (holes[hole] as PageRange).end <= start) hole++;
    // A hole may reach into the range after this one, so it is looked at again from there.
    for (let i = hole; i < holes.length; i++) {
      const { start: gapStart, end: gapEnd } = holes[i] as PageRange;
      if (gapStart >= end) break;
      if (gapStart > next) rest.push({ start: next, end: gapStart });
      next = Math.max(next, gapEnd);
    }
    if (next < end) rest.push({ start: next, end });
  }
  return rest;
}
