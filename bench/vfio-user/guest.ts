/** The guest of these benchmarks, on whichever machine its driver drives. @module */
import type { GuestDomain, VtdGuestDriver } from '../../src/guests/index.ts';
import type { RequesterId } from '../../src/iommu/index.ts';
import { Access } from '../../src/memory/index.ts';
import { accessOf, FIRST_IOVA, SYNC_IOVA, targetOf } from './layout.ts';
import { nanoseconds } from './vmm.ts';

/** Between two waits for the unit: the queue has 256 slots, of which a mapping takes two. */
const POSTED = 64;

/** A guest that has attached its device to one domain. */
export class BenchGuest {
  readonly #driver: VtdGuestDriver;
  readonly #domain: GuestDomain;
  #mapped = 0;

  private constructor(driver: VtdGuestDriver, domain: GuestDomain) {
    this.#driver = driver;
    this.#domain = domain;
  }

  /** `driver` runs; `requester` is where the device will be. */
  static async of(driver: VtdGuestDriver, requester: RequesterId): Promise<BenchGuest> {
    const domain = driver.createDomain({ levels: 4 });
    await driver.attachDevice(requester, domain);
    return new BenchGuest(driver, domain);
  }

  /** Maps until there are `count` mappings. */
  async map(count: number): Promise<void> {
    for (; this.#mapped < count; this.#mapped++) {
      const i = this.#mapped;
      const done = this.#driver.map(this.#domain, FIRST_IOVA + i, 1, targetOf(i), accessOf(i));
      if (i % POSTED === 0) await done;
    }
    await this.#driver.wait();
  }

  /** Maps `count` pages, one when the one before is confirmed, and unmaps them. Nanoseconds of mapping each. */
  async sync(count: number): Promise<number[]> {
    const times: number[] = [];
    for (let i = 0; i < count; i++) {
      const start = nanoseconds();
      await this.#driver.map(this.#domain, SYNC_IOVA + i, 1, targetOf(i), Access.ReadWrite);
      times.push(nanoseconds() - start);
    }
    for (let i = 0; i < count; i++) await this.#driver.unmap(this.#domain, SYNC_IOVA + i, 1);
    return times;
  }
}
