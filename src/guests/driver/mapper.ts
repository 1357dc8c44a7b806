/** Mappings of a domain: map, unmap, remap and flush, each with the invalidation that follows from it. @module */
import { type Access, formatPage, formatRange, type PageRange } from '../../memory/index.ts';
import type { GuestDomain } from './domain.ts';
import { GuestDriverError } from './error.ts';
import type { MappingInvalidator } from './invalidator.ts';
import type { DriverPages } from './pages.ts';
import { type Completion, inOrder } from './steps.ts';
import { levelOfLeaf, type TableChange } from './table-entry.ts';
import { type LeafSizes, leafSizesByLevel } from './table-fill.ts';
import type { GuestTableFormat } from './table-format.ts';
import type { GuestTables } from './tables.ts';

/** Pages that 52-bit physical addresses reach. */
const TARGET_END: number = 2 ** 40;

/** How a mapping is made. */
export interface MapOptions {
  /** Pages of every leaf; left out, each leaf is the largest that the unit has and alignment allows. */
  readonly leafPages?: number;
  /**
   * New tables are linked past levels of which only the first entry would be used, where the format can say so.
   * false when left out.
   */
  readonly skipLevels?: boolean;
}

/** Changes mappings. See {@link GuestDriver} for the operations. */
export class DriverMapper {
  readonly #pages: DriverPages;
  readonly #invalidator: MappingInvalidator;
  readonly #lazy: boolean;
  readonly #offered: readonly number[];
  readonly #sizes: LeafSizes;
  readonly #skips: boolean;

  constructor(pages: DriverPages, format: GuestTableFormat, invalidator: MappingInvalidator, lazy: boolean) {
    this.#pages = pages;
    this.#invalidator = invalidator;
    this.#lazy = lazy;
    this.#offered = format.leafSizes;
    this.#sizes = leafSizesByLevel(format.leafSizes);
    this.#skips = format.skipsLevels;
  }

  /** Whether the unit has leaves of `pages` pages. */
  offers(pages: number): boolean {
    return this.#offered.includes(pages);
  }

  map(
    domain: GuestDomain,
    iova: number,
    pages: number,
    target: number,
    access: Access,
    options: MapOptions,
  ): Completion {
    const range = checkedRange(domain, iova, pages);
    checkTarget(pages, target, access);
    const { leafPages, skipLevels: skipping = false } = options;
    if (skipping && !this.#skips) {
      throw new GuestDriverError(
        'bad-argument',
        'the format of the tables cannot skip levels; leave out skipLevels',
      );
    }
    const sizes = leafPages === undefined ? this.#sizes : this.#forced(domain, range, target, leafPages);
    const change = tablesOf(domain).map(range, target, { access, sizes, skipping });
    if (change.refused !== undefined) return this.#takenBack(domain, change);
    // A unit that caches nothing that was not present may still have cached what led to a table.
    const due = this.#invalidator.tellsOfMaps || change.freed.length > 0 || change.relinked;
    return due ? this.#invalidate(domain, change, false) : undefined;
  }

  unmap(domain: GuestDomain, iova: number, pages: number): Completion {
    const change = tablesOf(domain).unmap(checkedRange(domain, iova, pages));
    if (change.start === change.end) return;
    if (!this.#lazy) return this.#invalidate(domain, change, true);
    for (const table of change.freed) domain.deferred.add(table);
    domain.stale = true;
  }

  remap(
    domain: GuestDomain,
    iova: number,
    pages: number,
    access: Access,
    target: number | undefined,
  ): Completion {
    checkTarget(pages, target ?? 0, access);
    const change = tablesOf(domain).rewrite(checkedRange(domain, iova, pages), access, target);
    return this.#invalidate(domain, change, true);
  }

  /** Invalidates every domain of `domains` that is stale, and frees what was taken out of it. */
  flush(domains: readonly GuestDomain[]): Completion {
    const stale = domains.filter((domain) => domain.stale);
    const freed = stale.flatMap((domain) => [...domain.deferred]);
    for (const domain of stale) {
      domain.stale = false;
      domain.deferred.clear();
    }
    return inOrder(
      () => this.#invalidator.invalidateDomains(stale.map(({ id }) => id)),
      () => this.#pages.free(freed),
    );
  }

  /** Tables go back only when the unit cannot be reading them any more. */
  #invalidate(domain: GuestDomain, { start, end, freed }: TableChange, leavesOnly: boolean): Completion {
    const range = { start, end };
    const posted = this.#invalidator.invalidateRange(domain.id, range, leavesOnly && freed.length === 0);
    if (posted !== undefined) return posted.then(() => this.#pages.free(freed));
    this.#pages.free(freed);
  }

  /** A map that failed half way: the unit may have seen what was written before it was cleared again. */
  #takenBack(domain: GuestDomain, change: TableChange): Completion {
    return inOrder(
      () => (change.start < change.end ? this.#invalidate(domain, change, false) : undefined),
      () => {
        throw change.refused;
      },
    );
  }

  #forced(domain: GuestDomain, range: PageRange, target: number, leafPages: number): LeafSizes {
    const misaligned =
      range.start % leafPages !== 0 || range.end % leafPages !== 0 || target % leafPages !== 0;
    const tooLarge = levelOfLeaf(leafPages) > domain.levels;
    if (this.offers(leafPages) && !misaligned && !tooLarge) return leafSizesByLevel([leafPages]);
    throw new GuestDriverError(
      'bad-argument',
      `${formatRange(range)} to ${formatPage(target)} cannot be leaves of ${leafPages} pages: the tables have ` +
        'none of that size, or an address is not aligned to it; leave out leafPages',
    );
  }
}

function tablesOf(domain: GuestDomain): GuestTables {
  if (domain.tables !== undefined) return domain.tables;
  throw new GuestDriverError(
    'bad-argument',
    `domain ${domain.id} passes through and maps nothing; use another domain`,
  );
}

function checkTarget(pages: number, target: number, access: Access): void {
  if (access !== 0 && Number.isSafeInteger(target) && target >= 0 && target + pages <= TARGET_END) return;
  throw new GuestDriverError(
    'bad-argument',
    `${pages} pages to page ${target} with access ${access} fit no entry: targets lie below 2^52 and a mapping allows ` +
      'something',
  );
}

function checkedRange(domain: GuestDomain, iova: number, pages: number): PageRange {
  const whole = Number.isSafeInteger(iova) && Number.isSafeInteger(pages) && iova >= 0 && pages > 0;
  if (whole && (iova + pages <= domain.end || domain.tables === undefined))
    return { start: iova, end: iova + pages };
  throw new GuestDriverError(
    'bad-argument',
    `${pages} pages at page ${iova} do not lie within domain ${domain.id}, which ends at ${formatPage(domain.end)}; ` +
      'use a domain with more levels',
  );
}
