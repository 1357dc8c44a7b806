/** Which commands a guest's driver posts for what it changed, as Linux chooses them. @module */
import type { RequesterId } from '../../iommu/index.ts';
import type { PageRange } from '../../memory/index.ts';
import { spec } from '../../models/amdvi/index.ts';
import type { MappingInvalidator } from '../driver/invalidator.ts';
import type { DriverQueue } from '../driver/queue.ts';
import { type Completion, inOrder } from '../driver/steps.ts';
import * as commands from './commands.ts';
import type { DeviceTablePlace } from './device-table.ts';
import type { AmdviUnit } from './unit.ts';

/** Composes commands for one unit and posts them to its command buffer. */
export class AmdviInvalidator implements MappingInvalidator {
  readonly queue: DriverQueue;
  /** Identifiers of domains whose translations the unit may have cached. */
  readonly domains: Set<number>;
  readonly #unit: AmdviUnit;

  constructor(unit: AmdviUnit, queue: DriverQueue, domains: Iterable<number>) {
    this.#unit = unit;
    this.queue = queue;
    this.domains = new Set(domains);
  }

  /** NpCache: the unit may have cached that something is not present. */
  get tellsOfMaps(): boolean {
    return this.#unit.capability.NpCache;
  }

  /**
   * Posts commands and waits for them. A unit that is not enabled fetches none: everything is invalidated when it is
   * enabled again.
   */
  post(list: readonly commands.Command[]): Completion {
    if (list.length === 0 || !this.#unit.enabled) return;
    const atOnce = this.queue.slots / 2;
    if (list.length <= atOnce) return this.queue.post(list);
    return inOrder(
      () => this.queue.post(list.slice(0, atOnce)),
      () => this.post(list.slice(atOnce)),
    );
  }

  /** Waits for everything submitted so far; a unit that is not enabled does nothing of it. */
  wait(): Completion {
    return this.#unit.enabled ? this.queue.post([]) : undefined;
  }

  invalidateRange(domain: number, range: PageRange, _leavesOnly: boolean): Completion {
    return this.post([commands.invalidatePages(domain, range)]);
  }

  invalidateDomains(ids: readonly number[]): Completion {
    return this.post(ids.map((id) => commands.invalidatePages(id, 'whole')));
  }

  /** Every cache: by one command where the unit has it, else entry by entry and domain by domain. */
  everything({ pages }: DeviceTablePlace): Completion {
    if (this.#unit.capability.IASup) return this.post([commands.invalidateAll()]);
    const devices = pages * spec.DEVICE_TABLE_ENTRIES_A_PAGE;
    return this.post([
      ...Array.from({ length: devices }, (_, requester) => commands.invalidateDeviceTableEntry(requester)),
      ...[...this.domains].map((id) => commands.invalidatePages(id, 'whole')),
    ]);
  }

  /** `requester` got tables, or lost those of the domain `left`. */
  deviceChanged(requester: RequesterId, left?: number): Completion {
    const entry = commands.invalidateDeviceTableEntry(requester);
    return this.post(left === undefined ? [entry] : [entry, commands.invalidatePages(left, 'whole')]);
  }
}
