/**
 * A guest's IOMMU driver: writes real AMD-Vi tables in guest memory and tells the unit through its registers and its
 * command buffer, step by step as Linux's drivers/iommu/amd does for the DMA API.
 *
 * @example
 * ```ts
 * const driver = new AmdviGuestDriver({ memory, registers: unit, allocator: new PageAllocator(ram) });
 * driver.boot();
 * const domain = driver.createDomain({ mode: 3 });
 * driver.attachDevice(requesterId(2, 0, 0), domain);
 * driver.map(domain, 0x1000, 16, 0x40000, Access.ReadWrite);
 * ```
 *
 * @module
 */
import type { RequesterId } from '../../iommu/index.ts';
import type { PageRange } from '../../memory/index.ts';
import { type Capability, spec } from '../../models/amdvi/index.ts';
import { DriverDomains, type GuestDomain } from '../driver/domain.ts';
import { GuestDriverError } from '../driver/error.ts';
import { GuestDriver, type GuestDriverOptions, type RunningMapper } from '../driver/guest-driver.ts';
import { DriverMapper } from '../driver/mapper.ts';
import type { DriverQueue } from '../driver/queue.ts';
import { type Completion, inOrder } from '../driver/steps.ts';
import { AmdviAttachments, type AttachOptions, type DetachOptions } from './attachments.ts';
import * as commands from './commands.ts';
import { DeviceTable } from './device-table.ts';
import { amdviDomainRules, PASS_THROUGH_DOMAIN } from './domain.ts';
import type { AmdviEvent, EventLog } from './event-log.ts';
import { AmdviInvalidator } from './invalidator.ts';
import { AmdviTableFormat } from './table-format.ts';
import { AmdviUnit } from './unit.ts';

/** What a driver of an AMD-Vi unit works with. */
export interface AmdviGuestDriverOptions extends GuestDriverOptions {
  /**
   * Header of the unit's PCI capability block, which says whether it caches entries that are not present (NpCache);
   * that of `spec.BASE_CAPABILITY`, which does, when left out.
   */
  readonly capabilityHeader?: number;
}

/** How a guest boots. */
export interface AmdviBootOptions {
  /** false leaves the unit off until `setTranslation(true)`. */
  readonly translation?: boolean;
  /** Pages of the device table, 1 to 512, of 128 requesters each; 512, an entry for each requester, when left out. */
  readonly deviceTablePages?: number;
}

/** What exists once the driver runs. */
interface Running extends RunningMapper {
  readonly invalidator: AmdviInvalidator;
  readonly attachments: AmdviAttachments;
  readonly table: DeviceTable;
  readonly log: EventLog;
}

/** Levels of a domain's tables, as Mode of a device table entry says them. */
export type AmdviMode = 1 | 2 | 3 | 4 | 5 | 6;

/** The driver of an AMD-Vi unit. */
export class AmdviGuestDriver extends GuestDriver<Running> {
  readonly capability: Capability;
  readonly #unit: AmdviUnit;
  readonly #lazy: boolean;

  /** Only reads the unit's capabilities; `boot` or `attach` comes next. */
  constructor(options: AmdviGuestDriverOptions) {
    super(options);
    const header = options.capabilityHeader ?? spec.encodeCapabilityHeader(spec.BASE_CAPABILITY);
    this.#unit = new AmdviUnit(options.registers, options.settled, header);
    this.#lazy = options.invalidation === 'lazy';
    this.capability = this.#unit.capability;
  }

  /**
   * Sets up a unit after reset: a device table whose entries block every requester, command buffer, event log, the unit
   * on, invalidation of everything.
   *
   * @throws GuestDriverError `state` when the unit runs already, `bad-argument`, `stuck`
   */
  boot(options: AmdviBootOptions = {}): Completion {
    const { translation = true, deviceTablePages: pages = 512 } = options;
    if (!this.#unit.fresh) {
      throw new GuestDriverError('state', 'the unit is running already; attach to it, or reset it first');
    }
    if (!Number.isInteger(pages) || pages < 1 || pages > 512) {
      throw new GuestDriverError('bad-argument', `a device table has 1 to 512 pages, not ${pages}`);
    }
    const table = new DeviceTable(this.pages, { page: this.pages.allocate(pages), pages });
    table.blockAll();
    this.#unit.setDeviceTable(table.place);
    const { queue, log } = this.#unit.makeRings(this.pages);
    this.#run(table, queue, log, new Set());
    return translation ? this.setTranslation(true) : undefined;
  }

  /**
   * Takes over where a captured guest's driver stopped: its device table, its command buffer and event log, the domain
   * identifiers it uses. The allocator must know the pages of its page tables as used; those of the device table and of
   * the rings are reserved here.
   *
   * @throws GuestDriverError `state` when it had no command buffer, `outside-ram`
   */
  attach(): void {
    const table = new DeviceTable(this.pages, this.#unit.deviceTable());
    const foreign = new Set<number>();
    for (const requester of table.requesters()) {
      const id = table.domainId(requester);
      if (id !== undefined) foreign.add(id);
    }
    const { page, pages } = table.place;
    this.pages.allocator.reserve({ start: page, end: page + pages });
    const { queue, log } = this.#unit.adoptRings(this.pages);
    this.#run(table, queue, log, foreign);
  }

  /**
   * A new domain with empty tables of `mode` levels, for nobody yet. Identifiers are given from 2 up, as Linux does.
   *
   * @throws GuestDriverError `bad-argument` when HATS does not allow the levels, `no-domain-id`
   */
  createDomain({ mode }: { readonly mode: AmdviMode }): GuestDomain {
    const most = spec.hostLevels(this.capability.HATS);
    if (mode > most) {
      throw new GuestDriverError(
        'bad-argument',
        `HATS of the Extended Feature Register does not allow tables of ${mode} levels, only up to ${most}; use others`,
      );
    }
    return this.running.domains.create(mode);
  }

  /** The domain whose requesters reach memory untranslated: Mode 0 in their device table entries. */
  passThroughDomain(): GuestDomain {
    return this.running.domains.at(PASS_THROUGH_DOMAIN, undefined);
  }

  /**
   * The domain that the device table gives `requester`, a captured guest's own included; undefined when its entry blocks
   * its requests, or says nothing about them.
   *
   * @throws GuestDriverError `unsupported` when guest tables translate it
   */
  override domainOf(requester: RequesterId): GuestDomain | undefined {
    return this.running.attachments.find(requester);
  }

  /** Lets `requester` use `domain`. GuestDriverError `attachment` when it uses one already. */
  attachDevice(requester: RequesterId, domain: GuestDomain, options: AttachOptions = {}): Completion {
    return this.running.attachments.attach(requester, domain, options);
  }

  /** Takes `requester`'s tables away. GuestDriverError `attachment` when it has none. */
  detachDevice(requester: RequesterId, options: DetachOptions = {}): Completion {
    return this.running.attachments.detach(requester, options);
  }

  /** Gives `requester` other tables by rewriting its entry in place. GuestDriverError `attachment` when it has none. */
  switchDomain(requester: RequesterId, domain: GuestDomain, options: AttachOptions = {}): Completion {
    return this.running.attachments.switch(requester, domain, options);
  }

  /** Frees a domain's tables. GuestDriverError `attachment` while a requester is attached to it. */
  freeDomain(domain: GuestDomain): void {
    this.running.attachments.requireUnused(domain);
    this.release(domain);
  }

  /**
   * Turns the unit on or off. While it is off it fetches no commands, so operations post none; when it is turned on
   * everything is invalidated.
   */
  setTranslation(on: boolean): Completion {
    const { invalidator, table } = this.running;
    return inOrder(
      () => this.#unit.setEnabled(on),
      () => (on ? invalidator.everything(table.place) : undefined),
    );
  }

  /**
   * Invalidates translations of a domain, whether that fits what changed or not: the smallest aligned power of two of
   * pages that covers `range`, or all.
   */
  invalidatePages(
    domain: GuestDomain,
    range: PageRange | 'whole',
    options: commands.InvalidatePagesOptions = {},
  ): Completion {
    return this.running.invalidator.post([commands.invalidatePages(domain.id, range, options)]);
  }

  /** Invalidates what is cached of `requester`'s device table entry, whether that fits what changed or not. */
  invalidateDeviceTableEntry(requester: RequesterId): Completion {
    return this.running.invalidator.post([commands.invalidateDeviceTableEntry(requester)]);
  }

  /** Invalidates everything. */
  invalidateAll(): Completion {
    const { invalidator, table } = this.running;
    return invalidator.everything(table.place);
  }

  /** Puts a command of any content into the command buffer, without a wait. */
  submit(command: commands.Command): void {
    this.running.invalidator.queue.submit(command);
  }

  /** Completes when the unit has done everything submitted so far: a COMPLETION_WAIT that stores, and a look for it. */
  wait(): Completion {
    return this.running.invalidator.wait();
  }

  /**
   * After a `queue-error`: starts with an empty command buffer. What stood in it behind the refused command is lost, so
   * everything is invalidated.
   */
  recover(): Completion {
    const { invalidator, table } = this.running;
    return inOrder(
      () => this.#unit.restartCommands(),
      () => {
        invalidator.queue.restart();
        return invalidator.everything(table.place);
      },
    );
  }

  /** Takes the events out of the log, as far as the registers tell. */
  events(): readonly AmdviEvent[] {
    return this.running.log.take();
  }

  /** Status.EventOverflow: events were lost, and none are logged until `restartEventLog`. */
  get eventOverflow(): boolean {
    return this.#unit.eventOverflow;
  }

  /** After an overflow: lets the unit log again. Take the events first. */
  restartEventLog(): void {
    this.#unit.restartEventLog();
  }

  /** The eight words of `requester`'s entry, of whatever content. */
  readDeviceTableEntry(requester: RequesterId): number[] {
    return this.running.table.read(requester);
  }

  /** Writes any eight words as the device table entry of `requester`; the unit is not told. */
  writeDeviceTableEntry(requester: RequesterId, words: readonly number[]): void {
    this.running.table.write(requester, words);
  }

  protected override attachedDomain(requester: RequesterId): GuestDomain {
    return this.running.attachments.get(requester);
  }

  #run(table: DeviceTable, queue: DriverQueue, log: EventLog, foreign: ReadonlySet<number>): void {
    const format = new AmdviTableFormat();
    const invalidator = new AmdviInvalidator(this.#unit, queue, foreign);
    const domains = new DriverDomains(this.pages, amdviDomainRules(format), foreign);
    const attachments = new AmdviAttachments(table, domains, invalidator);
    const mapper = new DriverMapper(this.pages, format, invalidator, this.#lazy);
    this.start({ invalidator, domains, attachments, mapper, table, log });
  }
}
