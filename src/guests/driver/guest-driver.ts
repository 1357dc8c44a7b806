/** What every driver of an IOMMU with tables can do: map and unmap. @module */
import type { RequesterId } from '../../iommu/index.ts';
import type { Access, AddressSpace } from '../../memory/index.ts';
import type { PageAllocator } from '../page-allocator.ts';
import { type DriverDomains, GuestDomain } from './domain.ts';
import { GuestDriverError } from './error.ts';
import type { DriverMapper, MapOptions } from './mapper.ts';
import { DriverPages } from './pages.ts';
import type { RegisterAccess, Settled } from './registers.ts';
import type { Completion } from './steps.ts';

/** What a driver works with. */
export interface GuestDriverOptions {
  /** Guest-physical memory: where tables and queues are written. */
  readonly memory: AddressSpace;
  readonly registers: RegisterAccess;
  /** Pages that the driver may take for tables, queues and statuses. */
  readonly allocator: PageAllocator;
  /** Waits for a unit that completes later; without it the unit must have completed when a register write returns. */
  readonly settled?: Settled;
  /** `strict` (the default) invalidates at each unmap, `lazy` when `flush` is called. */
  readonly invalidation?: 'strict' | 'lazy';
}

/** A domain, or a requester that is attached to one. */
export type DomainOrRequester = GuestDomain | RequesterId;

/** What exists once a driver runs. */
export interface RunningMapper {
  readonly domains: DriverDomains;
  readonly mapper: DriverMapper;
}

/**
 * The driver. An operation returns nothing when the unit has confirmed it, or a promise of that; tables are written
 * before it returns, and invalidations reach the unit in the order of the calls, awaited or not. All throw, or reject
 * with, GuestDriverError and PageAllocatorError.
 */
export abstract class GuestDriver<Running extends RunningMapper = RunningMapper> {
  /** For drivers; a caller has `allocatePage` and `writeEntry`. */
  protected readonly pages: DriverPages;
  #running: Running | undefined;

  constructor(options: GuestDriverOptions) {
    this.pages = new DriverPages(options.memory, options.allocator);
  }

  /** The domain that the structures in memory give `requester`, a captured guest's own included; undefined when there is none. */
  abstract domainOf(requester: RequesterId): GuestDomain | undefined;

  /** The same, and GuestDriverError `attachment` when there is none. */
  protected abstract attachedDomain(requester: RequesterId): GuestDomain;

  /** Whether the unit has leaves of `pages` pages. */
  offersLeaf(pages: number): boolean {
    return this.running.mapper.offers(pages);
  }

  /**
   * Maps `pages` pages at `iova` to those at `target`, in the largest leaves that the unit has and alignment allows if
   * the options name no size. The unit is told when it caches what is not mapped, or when an empty table gave way to a
   * large leaf.
   *
   * @throws GuestDriverError `mapped` when something is mapped there, `bad-argument`; PageAllocatorError: then nothing
   *   of it is mapped
   */
  map(
    where: DomainOrRequester,
    iova: number,
    pages: number,
    target: number,
    access: Access,
    options: MapOptions = {},
  ): Completion {
    return this.running.mapper.map(this.#domain(where), iova, pages, target, access, options);
  }

  /**
   * Removes everything that is mapped in the range, which may be wider, and frees tables that lie wholly inside it.
   *
   * @throws GuestDriverError `bisects` when a leaf reaches out of the range: then nothing changes
   */
  unmap(where: DomainOrRequester, iova: number, pages: number): Completion {
    return this.running.mapper.unmap(this.#domain(where), iova, pages);
  }

  /**
   * Rewrites the leaves of a range that is mapped throughout, at their sizes, with other access and, when `target` is
   * given, other targets. The unit is always told: it may have cached the old ones.
   *
   * @throws GuestDriverError `not-mapped`, `bisects`, `bad-argument`: then nothing changes
   */
  remap(where: DomainOrRequester, iova: number, pages: number, access: Access, target?: number): Completion {
    return this.running.mapper.remap(this.#domain(where), iova, pages, access, target);
  }

  /** Lazy mode: invalidates what was unmapped since the last flush, a whole domain at a time, and frees its tables. */
  flush(where?: DomainOrRequester): Completion {
    const { mapper, domains } = this.running;
    return mapper.flush(where === undefined ? domains.all : [this.#domain(where)]);
  }

  /** Writes any two words as entry `index` (0 to 511) of the table at page `table`; the unit is not told. */
  writeEntry(table: number, index: number, lo: number, hi: number): void {
    this.pages.write(table, index * 2, [lo >>> 0, hi >>> 0]);
  }

  /** A zeroed page to build in it what no driver would. It is the caller's from now on. */
  allocatePage(): number {
    return this.pages.allocate();
  }

  /** What runs; GuestDriverError `state` before that. */
  protected get running(): Running {
    if (this.#running !== undefined) return this.#running;
    throw new GuestDriverError('state', 'the driver does not run yet; call boot() or attach() first');
  }

  /** Says that the driver runs from now on. */
  protected start(running: Running): void {
    this.#running = running;
  }

  /** Forgets a domain that no requester is attached to, and frees its tables. */
  protected release(domain: GuestDomain): void {
    this.running.domains.remove(domain);
    this.pages.free([...domain.deferred, ...(domain.tables?.all() ?? [])]);
  }

  #domain(where: DomainOrRequester): GuestDomain {
    return where instanceof GuestDomain ? where : this.attachedDomain(where);
  }
}
