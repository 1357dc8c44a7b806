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
import type { Capability } from '../../models/vtd/index.ts';
import { spec } from '../../models/vtd/index.ts';
import { DriverDomains, type GuestDomain } from '../driver/domain.ts';
import { GuestDriverError } from '../driver/error.ts';
import { GuestDriver, type GuestDriverOptions, type RunningMapper } from '../driver/guest-driver.ts';
import { DriverMapper } from '../driver/mapper.ts';
import type { DriverQueue } from '../driver/queue.ts';
import { type Completion, inOrder } from '../driver/steps.ts';
import { DriverAttachments, type StructureOptions } from './attachments.ts';
import { type ContextScope, contextInvalidation, type Descriptor, type IotlbScope } from './descriptors.ts';
import { NO_DOMAIN, PASS_THROUGH_DOMAIN, vtdDomainRules } from './domain.ts';
import { DriverInvalidator } from './invalidator.ts';
import { RemappingStructures } from './structures.ts';
import { SecondStageTableFormat } from './table-format.ts';
import { DriverUnit } from './unit.ts';

/** How a guest boots. */
export interface BootOptions {
  readonly mode: 'legacy' | 'scalable';
  /** false leaves translation off until `setTranslation(true)`. */
  readonly translation?: boolean;
}

/** What exists once the driver runs. */
interface Running extends RunningMapper {
  readonly invalidator: DriverInvalidator;
  readonly attachments: DriverAttachments;
}

/** The driver of a VT-d unit. */
export class VtdGuestDriver extends GuestDriver<Running> {
  readonly capability: Capability;
  readonly #unit: DriverUnit;
  readonly #lazy: boolean;

  /** Only reads the unit's capabilities; `boot` or `attach` comes next. GuestDriverError `unsupported` without ECAP_REG.QI. */
  constructor(options: GuestDriverOptions) {
    super(options);
    this.#unit = new DriverUnit(options.registers, options.settled);
    this.#lazy = options.invalidation === 'lazy';
    this.capability = this.#unit.capability;
  }

  /**
   * Sets up a unit after reset: queue, root table, invalidation of everything, translation on.
   *
   * @throws GuestDriverError `state` when the unit runs already, `unsupported` for a mode that it has not
   */
  boot(options: BootOptions): Completion {
    const scalable = options.mode === 'scalable';
    if (!this.#unit.fresh()) {
      throw new GuestDriverError('state', 'the unit is running already; attach to it, or reset it first');
    }
    if (scalable && !this.capability.SMTS) {
      const remedy = 'boot in legacy mode or give the unit SMTS';
      throw new GuestDriverError('unsupported', `the unit has no scalable mode; ${remedy}`);
    }
    const queue = this.#unit.makeQueue(this.pages, scalable);
    const structures = new RemappingStructures(this.pages, this.capability, this.pages.allocate(), scalable);
    const { invalidator } = this.#run(structures, queue, new Set());
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
   * @throws GuestDriverError `state` when it had no root table or no queue, `unsupported`, `outside-ram`
   */
  attach(): void {
    const { root, scalable } = this.#unit.state();
    const structures = new RemappingStructures(this.pages, this.capability, root, scalable);
    const foreign = new Set<number>();
    for (const requester of structures.requesters()) {
      const id = structures.domainId(requester);
      if (id !== undefined) foreign.add(id);
    }
    this.#run(structures, this.#unit.adoptQueue(this.pages), foreign);
  }

  /**
   * A new domain with empty tables of `levels` levels, for nobody yet. Identifiers are given from 2 up, as Linux does.
   *
   * @throws GuestDriverError `bad-argument` when CAP_REG.SAGAW does not offer the levels, `no-domain-id`
   */
  createDomain(options: { readonly levels: 3 | 4 | 5 }): GuestDomain {
    const { levels } = options;
    if (spec.levelsOf(levels - 2, this.capability.SAGAW) !== levels) {
      throw new GuestDriverError(
        'bad-argument',
        `CAP_REG.SAGAW does not offer tables of ${levels} levels; use others`,
      );
    }
    return this.running.domains.create(levels);
  }

  /** The domain whose requesters reach memory untranslated. GuestDriverError `unsupported` without ECAP_REG.PT. */
  passThroughDomain(): GuestDomain {
    if (this.capability.PT) return this.running.domains.at(PASS_THROUGH_DOMAIN, undefined);
    throw new GuestDriverError(
      'unsupported',
      'the unit has no pass-through (ECAP_REG.PT); map guest RAM one to one',
    );
  }

  /**
   * The domain that the structures in memory give `requester` (with `pasid`), a captured guest's own included; undefined
   * when there is none.
   *
   * @throws GuestDriverError `unsupported` when first-stage tables translate it
   */
  override domainOf(requester: RequesterId, pasid = 0): GuestDomain | undefined {
    return this.running.attachments.find(requester, pasid);
  }

  /** Lets `requester` (with `pasid`, in scalable mode) use `domain`. GuestDriverError `attachment` when it uses one already. */
  attachDevice(
    requester: RequesterId,
    domain: GuestDomain,
    pasid = 0,
    options: StructureOptions = {},
  ): Completion {
    return this.running.attachments.attach(requester, domain, pasid, options);
  }

  /** Takes `requester`'s tables away. GuestDriverError `attachment` when it has none. */
  detachDevice(requester: RequesterId, pasid = 0, options: StructureOptions = {}): Completion {
    return this.running.attachments.detach(requester, pasid, options);
  }

  /**
   * Gives `requester` other tables: in scalable mode by rewriting its entry in place, in legacy mode by taking the old
   * ones away first, as Linux does. GuestDriverError `attachment` when it has none.
   */
  switchDomain(
    requester: RequesterId,
    domain: GuestDomain,
    pasid = 0,
    options: StructureOptions = {},
  ): Completion {
    return this.running.attachments.switch(requester, domain, pasid, options);
  }

  /**
   * Frees a domain's tables. GuestDriverError `attachment` while a requester without PASID is attached to it; that no PASID
   * uses it is for the caller to know.
   */
  freeDomain(domain: GuestDomain): void {
    this.running.attachments.requireUnused(domain);
    this.release(domain);
  }

  /** Turns translation of the whole unit on or off. */
  setTranslation(on: boolean): Completion {
    return this.#unit.setTranslation(on);
  }

  /** Invalidates the context cache, whether that fits what changed or not. */
  invalidateContext(scope: ContextScope): Completion {
    return this.running.invalidator.post([contextInvalidation(scope)]);
  }

  /** Invalidates the IOTLB, whether that fits what changed or not. */
  invalidateIotlb(scope: IotlbScope): Completion {
    const { invalidator } = this.running;
    return invalidator.post([invalidator.iotlb(scope)]);
  }

  /** Invalidates everything: the context cache, in scalable mode the PASID cache, and the IOTLB. */
  invalidateAll(): Completion {
    const { invalidator } = this.running;
    return invalidator.post(invalidator.everything());
  }

  /** Puts a descriptor of any content into the queue, without a wait. */
  submit(descriptor: Descriptor): void {
    this.running.invalidator.queue.submit(descriptor);
  }

  /** Completes when the unit has done everything submitted so far. */
  wait(): Completion {
    return this.running.invalidator.queue.post([]);
  }

  /** After a `queue-error`: replaces the descriptor that the unit refused by a harmless one and lets the unit go on. */
  recover(): void {
    const { invalidator } = this.running;
    invalidator.queue.replaceHead(invalidator.iotlb({ domain: NO_DOMAIN }));
    this.#unit.queuePort.clearError();
  }

  protected override attachedDomain(requester: RequesterId): GuestDomain {
    return this.running.attachments.get(requester, 0);
  }

  #run(structures: RemappingStructures, queue: DriverQueue, foreign: ReadonlySet<number>): Running {
    const format = new SecondStageTableFormat(this.capability.SSLPS);
    const invalidator = new DriverInvalidator(this.capability, queue, structures.scalable);
    const domains = new DriverDomains(this.pages, vtdDomainRules(this.capability, format), foreign);
    const attachments = new DriverAttachments(structures, domains, invalidator);
    const mapper = new DriverMapper(this.pages, format, invalidator, this.#lazy);
    const running = { invalidator, domains, attachments, mapper };
    this.start(running);
    return running;
  }
}
