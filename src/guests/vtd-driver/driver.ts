/**
 * A guest's IOMMU driver: writes real VT-d tables in guest memory and tells the unit through its registers and its
 * invalidation queue, step by step as Linux's drivers/iommu/intel does for the DMA API.
 *
 * @example
 * ```ts
 * const driver = new VtdGuestDriver({ memory, registers: unit, allocator: new PageAllocator(ram) });
 * driver.boot({ mode: 'legacy' });
 * const domain = driver.createDomain({ levels: 4 });
 * driver.attachDevice(requesterId(2, 0, 0), domain);
 * driver.map(domain, 0x1000, 16, 0x40000, Access.ReadWrite);
 * ```
 *
 * @module
 */
import type { RequesterId } from '../../iommu/index.ts';
import type { Access, AddressSpace } from '../../memory/index.ts';
import type { Capability } from '../../models/vtd/index.ts';
import type { PageAllocator } from '../page-allocator.ts';
import { DriverAttachments } from './attachments.ts';
import { type ContextScope, contextInvalidation, type Descriptor, type IotlbScope } from './descriptors.ts';
import { DriverDomains, PASS_THROUGH_DOMAIN, VtdDomain } from './domain.ts';
import { VtdDriverError } from './error.ts';
import { DriverInvalidator } from './invalidator.ts';
import { DriverMapper } from './mapper.ts';
import { DriverPages } from './pages.ts';
import type { InvalidationQueue, RegisterAccess, Settled } from './queue.ts';
import { type Completion, inOrder } from './steps.ts';
import { RemappingStructures } from './structures.ts';
import { DriverUnit } from './unit.ts';

/** What a driver works with. */
export interface VtdGuestDriverOptions {
  /** Guest-physical memory: where tables and queue are written. */
  readonly memory: AddressSpace;
  readonly registers: RegisterAccess;
  /** Pages that the driver may take for tables, the queue and statuses. */
  readonly allocator: PageAllocator;
  /** Waits for a unit that completes later; without it the unit must have completed when a register write returns. */
  readonly settled?: Settled;
  /** `strict` (the default) invalidates at each unmap, `lazy` when `flush` is called. */
  readonly invalidation?: 'strict' | 'lazy';
}

/** How a guest boots. */
export interface BootOptions {
  readonly mode: 'legacy' | 'scalable';
  /** false leaves translation off until `setTranslation(true)`. */
  readonly translation?: boolean;
}

/** A domain, or a requester that is attached to one. */
export type DomainOrRequester = VtdDomain | RequesterId;

/** What exists once the driver runs. */
interface Running {
  readonly invalidator: DriverInvalidator;
  readonly domains: DriverDomains;
  readonly attachments: DriverAttachments;
  readonly mapper: DriverMapper;
}

/**
 * The driver. An operation returns nothing when the unit has confirmed it, or a promise of that; tables are written
 * before it returns, and invalidations reach the unit in the order of the calls, awaited or not. All throw, or reject
 * with, VtdDriverError and PageAllocatorError.
 */
export class VtdGuestDriver {
  readonly capability: Capability;
  readonly #pages: DriverPages;
  readonly #unit: DriverUnit;
  readonly #lazy: boolean;
  #running: Running | undefined;

  /** Only reads the unit's capabilities; `boot` or `attach` comes next. VtdDriverError `unsupported` without ECAP_REG.QI. */
  constructor(options: VtdGuestDriverOptions) {
    this.#pages = new DriverPages(options.memory, options.allocator);
    this.#unit = new DriverUnit(options.registers, options.settled);
    this.#lazy = options.invalidation === 'lazy';
    this.capability = this.#unit.capability;
  }

  /**
   * Sets up a unit after reset: queue, root table, invalidation of everything, translation on.
   *
   * @throws VtdDriverError `state` when the unit runs already, `unsupported` for a mode that it has not
   */
  boot(options: BootOptions): Completion {
    const scalable = options.mode === 'scalable';
    if (!this.#unit.fresh()) {
      throw new VtdDriverError('state', 'the unit is running already; attach to it, or reset it first');
    }
    if (scalable && !this.capability.SMTS) {
      const remedy = 'boot in legacy mode or give the unit SMTS';
      throw new VtdDriverError('unsupported', `the unit has no scalable mode; ${remedy}`);
    }
    const queue = this.#unit.makeQueue(this.#pages, scalable);
    const structures = new RemappingStructures(
      this.#pages,
      this.capability,
      this.#pages.allocate(),
      scalable,
    );
    const { invalidator } = this.#start(structures, queue, new Set());
    return inOrder(
      () => this.#unit.enableQueue(),
      () => this.#unit.setRootTable(structures.root, scalable),
      // VT-d 6.6: without ESRTPS, setting the root table pointer invalidates nothing.
      () => (this.capability.ESRTPS ? undefined : invalidator.post(invalidator.everything())),
      () => (options.translation === false ? undefined : this.#unit.setTranslation(true)),
    );
  }

  /**
   * Takes over where a captured guest's driver stopped: its root table, its queue, the domain identifiers it uses. The
   * allocator must know the pages of its tables as used; those of the queue are reserved here.
   *
   * @throws VtdDriverError `state` when it had no root table or no queue, `unsupported`, `outside-ram`
   */
  attach(): void {
    const { root, scalable } = this.#unit.state();
    const structures = new RemappingStructures(this.#pages, this.capability, root, scalable);
    const foreign = new Set<number>();
    for (const requester of structures.requesters()) {
      const id = structures.domainId(requester);
      if (id !== undefined) foreign.add(id);
    }
    this.#start(structures, this.#unit.adoptQueue(this.#pages), foreign);
  }

  /**
   * A new domain with empty tables of `levels` levels, for nobody yet. Identifiers are given from 2 up, as Linux does.
   *
   * @throws VtdDriverError `bad-argument` when CAP_REG.SAGAW does not offer the levels, `no-domain-id`
   */
  createDomain(options: { readonly levels: 3 | 4 | 5 }): VtdDomain {
    return this.#run().domains.create(options.levels);
  }

  /** The domain whose requesters reach memory untranslated. VtdDriverError `unsupported` without ECAP_REG.PT. */
  passThroughDomain(): VtdDomain {
    if (this.capability.PT) return this.#run().domains.at(PASS_THROUGH_DOMAIN, undefined);
    throw new VtdDriverError(
      'unsupported',
      'the unit has no pass-through (ECAP_REG.PT); map guest RAM one to one',
    );
  }

  /**
   * The domain that the structures in memory give `requester` (with `pasid`), a captured guest's own included; undefined
   * when there is none.
   *
   * @throws VtdDriverError `unsupported` when first-stage tables translate it
   */
  domainOf(requester: RequesterId, pasid = 0): VtdDomain | undefined {
    return this.#run().attachments.find(requester, pasid);
  }

  /** Lets `requester` (with `pasid`, in scalable mode) use `domain`. VtdDriverError `attachment` when it uses one already. */
  attachDevice(requester: RequesterId, domain: VtdDomain, pasid = 0): Completion {
    return this.#run().attachments.attach(requester, domain, pasid);
  }

  /** Takes `requester`'s tables away. VtdDriverError `attachment` when it has none. */
  detachDevice(requester: RequesterId, pasid = 0): Completion {
    return this.#run().attachments.detach(requester, pasid);
  }

  /**
   * Gives `requester` other tables: in scalable mode by rewriting its entry in place, in legacy mode by taking the old
   * ones away first, as Linux does. VtdDriverError `attachment` when it has none.
   */
  switchDomain(requester: RequesterId, domain: VtdDomain, pasid = 0): Completion {
    return this.#run().attachments.switch(requester, domain, pasid);
  }

  /**
   * Frees a domain's tables. VtdDriverError `attachment` while a requester without PASID is attached to it; that no PASID
   * uses it is for the caller to know.
   */
  freeDomain(domain: VtdDomain): void {
    const { attachments, domains } = this.#run();
    attachments.requireUnused(domain);
    domains.remove(domain);
    this.#pages.free([...domain.deferred, ...(domain.tables?.all() ?? [])]);
  }

  /** Whether the unit has leaves of `pages` pages (CAP_REG.SSLPS). */
  offersLeaf(pages: number): boolean {
    return this.#run().mapper.offers(pages);
  }

  /**
   * Maps `pages` pages at `iova` to those at `target`. Leaves are the largest that the unit has and alignment allows, or
   * all of `leafPages` (1, 512 or 262,144). The unit is told when it has caching mode, or when an empty table gave way
   * to a large leaf.
   *
   * @throws VtdDriverError `mapped` when something is mapped there, `bad-argument`; PageAllocatorError: then nothing
   *   of it is mapped
   */
  map(
    where: DomainOrRequester,
    iova: number,
    pages: number,
    target: number,
    access: Access,
    options: { readonly leafPages?: number } = {},
  ): Completion {
    return this.#run().mapper.map(this.#domain(where), iova, pages, target, access, options.leafPages);
  }

  /**
   * Removes everything that is mapped in the range, which may be wider, and frees tables that lie wholly inside it.
   *
   * @throws VtdDriverError `bisects` when a leaf reaches out of the range: then nothing changes
   */
  unmap(where: DomainOrRequester, iova: number, pages: number): Completion {
    return this.#run().mapper.unmap(this.#domain(where), iova, pages);
  }

  /**
   * Rewrites the leaves of a range that is mapped throughout, at their sizes, with other access and, when `target` is
   * given, other targets. The unit is always told: it may have cached the old ones.
   *
   * @throws VtdDriverError `not-mapped`, `bisects`, `bad-argument`: then nothing changes
   */
  remap(where: DomainOrRequester, iova: number, pages: number, access: Access, target?: number): Completion {
    return this.#run().mapper.remap(this.#domain(where), iova, pages, access, target);
  }

  /** Lazy mode: invalidates what was unmapped since the last flush, a whole domain at a time, and frees its tables. */
  flush(where?: DomainOrRequester): Completion {
    const { mapper, domains } = this.#run();
    return mapper.flush(where === undefined ? domains.all : [this.#domain(where)]);
  }

  /** Turns translation of the whole unit on or off. */
  setTranslation(on: boolean): Completion {
    return this.#unit.setTranslation(on);
  }

  /** Invalidates the context cache, whether that fits what changed or not. */
  invalidateContext(scope: ContextScope): Completion {
    return this.#run().invalidator.post([contextInvalidation(scope)]);
  }

  /** Invalidates the IOTLB, whether that fits what changed or not. */
  invalidateIotlb(scope: IotlbScope): Completion {
    const { invalidator } = this.#run();
    return invalidator.post([invalidator.iotlb(scope)]);
  }

  /** Puts a descriptor of any content into the queue, without a wait. */
  submit(descriptor: Descriptor): void {
    this.#run().invalidator.queue.submit(descriptor);
  }

  /** Completes when the unit has done everything submitted so far. */
  wait(): Completion {
    return this.#run().invalidator.queue.post([]);
  }

  /** After a `queue-error`: replaces the descriptor that the unit refused by a harmless one and lets the unit go on. */
  recover(): void {
    this.#run().invalidator.queue.recover();
  }

  /** Writes any two words as entry `index` (0 to 511) of the table at page `table`; the unit is not told. */
  writeEntry(table: number, index: number, lo: number, hi: number): void {
    this.#pages.write(table, index * 2, [lo >>> 0, hi >>> 0]);
  }

  /** A zeroed page to build in it what no driver would. It is the caller's from now on. */
  allocatePage(): number {
    return this.#pages.allocate();
  }

  #start(structures: RemappingStructures, queue: InvalidationQueue, foreign: ReadonlySet<number>): Running {
    const invalidator = new DriverInvalidator(this.capability, queue, structures.scalable);
    const domains = new DriverDomains(this.#pages, this.capability, foreign);
    const attachments = new DriverAttachments(structures, domains, invalidator);
    const mapper = new DriverMapper(this.#pages, invalidator, this.#lazy);
    this.#running = { invalidator, domains, attachments, mapper };
    return this.#running;
  }

  #run(): Running {
    if (this.#running !== undefined) return this.#running;
    throw new VtdDriverError('state', 'the driver does not run yet; call boot() or attach() first');
  }

  #domain(where: DomainOrRequester): VtdDomain {
    return where instanceof VtdDomain ? where : this.#run().attachments.get(where, 0);
  }
}
