/** Mappings of a domain: map, unmap, remap and flush, each with the invalidation that follows from it. @module */
import { type Access, formatPage, formatRange, type PageRange } from '../../memory/index.ts';
import { spec } from '../../models/vtd/index.ts';
import type { VtdDomain } from './domain.ts';
import { VtdDriverError } from './error.ts';
import type { DriverInvalidator } from './invalidator.ts';
import type { DriverPages } from './pages.ts';
import { type Completion, inOrder } from './steps.ts';
import { spanOf, type TableChange } from './table-entry.ts';
import type { SecondStageTables } from './tables.ts';

/** Pages that 52-bit physical addresses reach. */
const TARGET_END: number = 2 ** 40;

/** Changes mappings. See {@link VtdGuestDriver} for the operations. */
export class DriverMapper {
  readonly #pages: DriverPages;
  readonly #invalidator: DriverInvalidator;
  readonly #lazy: boolean;
  /** Bit n: the unit has leaves at level n. */
  readonly #levelsOffered: number;

  constructor(pages: DriverPages, invalidator: DriverInvalidator, lazy: boolean) {
    this.#pages = pages;
    this.#invalidator = invalidator;
    this.#lazy = lazy;
    const { SSLPS } = invalidator.capability;
    const large = ((SSLPS & spec.SSLPS_2M) === 0 ? 0 : 0b100) | ((SSLPS & spec.SSLPS_1G) === 0 ? 0 : 0b1000);
    this.#levelsOffered = 0b10 | large;
  }

  /** Whether the unit has leaves of `pages` pages. */
  offers(pages: number): boolean {
    return levelOf(pages) !== 0 && (this.#levelsOffered & (1 << levelOf(pages))) !== 0;
  }

  map(
    domain: VtdDomain,
    iova: number,
    pages: number,
    target: number,
    access: Access,
    leafPages: number | undefined,
  ): Completion {
    const range = checkedRange(domain, iova, pages);
    checkTarget(pages, target, access);
    const levels =
      leafPages === undefined ? this.#levelsOffered : this.#forcedLevel(range, target, leafPages);
    const change = tablesOf(domain).map(range, target, access, levels);
    if (change.refused !== undefined) return this.#takenBack(domain, change);
    // Without caching mode nothing that was not present is cached, but a table that was taken out may be.
    const due = this.#invalidator.capability.CM || change.freed.length > 0;
    return due ? this.#invalidate(domain, change, false) : undefined;
  }

  unmap(domain: VtdDomain, iova: number, pages: number): Completion {
    const change = tablesOf(domain).unmap(checkedRange(domain, iova, pages));
    if (change.start === change.end) return;
    if (!this.#lazy) return this.#invalidate(domain, change, true);
    for (const table of change.freed) domain.deferred.add(table);
    domain.stale = true;
  }

  remap(
    domain: VtdDomain,
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
  flush(domains: readonly VtdDomain[]): Completion {
    const stale = domains.filter((domain) => domain.stale);
    const freed = stale.flatMap((domain) => [...domain.deferred]);
    for (const domain of stale) {
      domain.stale = false;
      domain.deferred.clear();
    }
    return inOrder(
      () => this.#invalidator.post(stale.map(({ id }) => this.#invalidator.iotlb({ domain: id }))),
      () => this.#pages.free(freed),
    );
  }

  /** Tables go back only when the unit cannot be reading them any more. */
  #invalidate(domain: VtdDomain, { start, end, freed }: TableChange, leavesOnly: boolean): Completion {
    const descriptor = this.#invalidator.pages(domain.id, start, end, leavesOnly && freed.length === 0);
    const posted = this.#invalidator.post([descriptor]);
    if (posted !== undefined) return posted.then(() => this.#pages.free(freed));
    this.#pages.free(freed);
  }

  /** A map that failed half way: the unit may have seen what was written before it was cleared again. */
  #takenBack(domain: VtdDomain, change: TableChange): Completion {
    return inOrder(
      () => (change.start < change.end ? this.#invalidate(domain, change, false) : undefined),
      () => {
        throw change.refused;
      },
    );
  }

  #forcedLevel(range: PageRange, target: number, leafPages: number): number {
    const misaligned =
      range.start % leafPages !== 0 || range.end % leafPages !== 0 || target % leafPages !== 0;
    if (this.offers(leafPages) && !misaligned) return 1 << levelOf(leafPages);
    throw new VtdDriverError(
      'bad-argument',
      `${formatRange(range)} to ${formatPage(target)} cannot be leaves of ${leafPages} pages: the unit has none of ` +
        'that size, or an address is not aligned to it; leave out leafPages',
    );
  }
}

/** Level of a leaf of `pages` pages, 0 when there is none. */
function levelOf(pages: number): number {
  return pages === 1 ? 1 : pages === spanOf(2) ? 2 : pages === spanOf(3) ? 3 : 0;
}

function tablesOf(domain: VtdDomain): SecondStageTables {
  if (domain.tables !== undefined) return domain.tables;
  throw new VtdDriverError(
    'bad-argument',
    `domain ${domain.id} passes through and maps nothing; use another domain`,
  );
}

function checkTarget(pages: number, target: number, access: Access): void {
  if (access !== 0 && Number.isSafeInteger(target) && target >= 0 && target + pages <= TARGET_END) return;
  throw new VtdDriverError(
    'bad-argument',
    `${pages} pages to page ${target} with access ${access} fit no entry: targets lie below 2^52 and a mapping allows ` +
      'something',
  );
}

function checkedRange(domain: VtdDomain, iova: number, pages: number): PageRange {
  const whole = Number.isSafeInteger(iova) && Number.isSafeInteger(pages) && iova >= 0 && pages > 0;
  if (whole && (iova + pages <= domain.end || domain.tables === undefined))
    return { start: iova, end: iova + pages };
  throw new VtdDriverError(
    'bad-argument',
    `${pages} pages at page ${iova} do not lie within domain ${domain.id}, which ends at ${formatPage(domain.end)}; ` +
      'use a domain with more levels',
  );
}
