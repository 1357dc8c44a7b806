/** What follows a requester's space as a VFIO container does, with confirmations that a test can hold back. @module */
import type { IommuEvent, IommuNotifier } from '../../../src/iommu/index.ts';
import {
  ALL_PAGES,
  type MemoryListener,
  type MemorySection,
  type PageRange,
} from '../../../src/memory/index.ts';
import { type VtdIommu, VtdRegion } from '../../../src/models/vtd/index.ts';

export class FollowingHost implements MemoryListener {
  readonly #iommu: VtdIommu;
  readonly #requester: number;
  readonly #notifiers: Map<VtdRegion, IommuNotifier> = new Map();
  /** iova page to target page, of 4 KiB mappings onto RAM. */
  readonly mapped: Map<number, number> = new Map();
  /** Every message, in order. */
  readonly log: string[] = [];
  /** Sections of RAM that the requester sees directly. */
  readonly direct: PageRange[] = [];
  /** Commits in which something changed for the requester. */
  commits = 0;
  /** Why regions could not be followed. */
  readonly refused: Error[] = [];
  #held: (() => void)[] | undefined;
  #failure: Error | undefined;

  constructor(iommu: VtdIommu, requester: number) {
    this.#iommu = iommu;
    this.#requester = requester;
    iommu.addressSpace(requester).addListener(this);
  }

  get region(): VtdRegion {
    return this.#iommu.requesterSpace(this.#requester).region;
  }

  sectionAdded(section: MemorySection): void {
    if (!(section.region instanceof VtdRegion)) {
      if (section.region.name === 'ram0') this.direct.push({ start: section.start, end: section.end });
      return;
    }
    if (this.#notifiers.has(section.region)) return;
    const notifier = this.notifier(0);
    try {
      section.region.registerNotifierReplay(notifier, 4096n, false);
      this.#notifiers.set(section.region, notifier);
    } catch (error) {
      this.refused.push(error as Error);
    }
  }

  sectionRemoved(section: MemorySection): void {
    const region = section.region;
    if (!(region instanceof VtdRegion)) {
      const at = this.direct.findIndex(({ start }) => start === section.start);
      if (at !== -1) this.direct.splice(at, 1);
      return;
    }
    const notifier = this.#notifiers.get(region);
    if (notifier === undefined) return;
    this.#notifiers.delete(region);
    region.unregisterNotifier(notifier);
  }

  committed(): void {
    this.commits++;
  }

  barrier(): void | Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#held === undefined) return;
    return new Promise((resolve) => this.#held?.push(resolve));
  }

  /** Barriers do not resolve from now on. */
  hold(): void {
    this.#held ??= [];
  }

  /** Confirms every barrier that waits, and all to come. */
  async confirm(): Promise<void> {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const resolve of held) resolve();
    await this.#iommu.settled();
  }

  /** Barriers throw from now on. */
  fail(error: Error): void {
    this.#failure = error;
  }

  /** A map-and-unmap notifier that writes into this host. */
  notifier(index: number, range: PageRange = ALL_PAGES): IommuNotifier {
    return { events: 'map-and-unmap', range, index, notify: (event) => this.#take(event) };
  }

  /** `iova>target` of every mapping, in hexadecimal, ascending. */
  get mappings(): string[] {
    return [...this.mapped]
      .sort(([a], [b]) => a - b)
      .map(([iova, target]) => `${iova.toString(16)}>${target.toString(16)}`);
  }

  takeLog(): string[] {
    return this.log.splice(0);
  }

  #take({ op, iova, target }: IommuEvent): boolean {
    this.log.push(`${op} ${iova.toString(16)}`);
    if (op === 'map') this.mapped.set(iova, target);
    else this.mapped.delete(iova);
    return true;
  }
}

/** A barrier that is open until `resolve` is called. */
export function heldBarrier(): { readonly barrier: () => Promise<void>; readonly resolve: () => void } {
  const waiting: (() => void)[] = [];
  return {
    barrier: () => new Promise((done) => waiting.push(done)),
    resolve: () => {
      for (const done of waiting) done();
    },
  };
}
