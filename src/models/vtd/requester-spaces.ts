import { formatRequesterId, type RequesterId } from '../../iommu/index.ts';
import { ALL_PAGES, type Observer, type PageRange } from '../../memory/index.ts';
import type { InvalidationBatch } from './invalidation-batch.ts';
import type { RemappingState } from './remapping-state.ts';
import { RequesterSpace, type RequesterSpaceOptions } from './requester-space.ts';

/** A requester's space and what the unit remembers of it. */
interface Entry {
  readonly space: RequesterSpace;
  /**
   * The domain whose contents each translation index holds, which need not be the one that the tables name now; no
   * entry for an index that has not been looked at yet.
   */
  domains: Map<number, number | undefined>;
}

/** An index that no notifier has: an invalidation of it only empties the region's IOTLB. */
const NO_INDEX = -1;

/** The requesters that somebody has asked for, and what invalidations do to them. */
export class RequesterSpaces {
  readonly #state: RemappingState;
  readonly #options: RequesterSpaceOptions;
  readonly #observer: Observer | undefined;
  readonly #entries: Map<RequesterId, Entry> = new Map();
  #protected: readonly PageRange[] = [];

  constructor(state: RemappingState, options: RequesterSpaceOptions, observer: Observer | undefined) {
    this.#state = state;
    this.#options = options;
    this.#observer = observer;
  }

  /** The space of `requester`, made when first asked for. */
  get(requester: RequesterId): RequesterSpace {
    let entry = this.#entries.get(requester);
    if (entry === undefined) {
      const space = new RequesterSpace(this.#state, requester, this.#options);
      if (this.#protected.length > 0) space.setProtected(this.#protected);
      entry = { space, domains: new Map() };
      this.#learn(entry);
      this.#entries.set(requester, entry);
    }
    return entry.space;
  }

  /** Forgets `requester`; throws, and forgets nothing, while its space has listeners. */
  release(requester: RequesterId): void {
    const entry = this.#entries.get(requester);
    if (entry === undefined) return;
    entry.space.dispose();
    this.#entries.delete(requester);
  }

  /** Shows every requester `ranges` as protected, instead of those of the last call. */
  protect(ranges: readonly PageRange[]): void | Promise<void> {
    this.#protected = ranges;
    this.#together(() => {
      for (const { space } of this.#entries.values()) space.setProtected(ranges);
    });
    return this.#confirmed(this.#entries.values());
  }

  /**
   * Does what `batch` covers: structures first, for contents are reached through them. Returns, or resolves, when the
   * sinks behind every requester that was touched have confirmed; never rejects.
   */
  apply(batch: InvalidationBatch): void | Promise<void> {
    const touched: Set<Entry> = new Set();
    if (batch.coversStructures) this.#renew(batch, touched);
    if (batch.coversContents && this.#state.translationEnabled) {
      for (const entry of this.#entries.values()) {
        if (!touched.has(entry) && this.#follow(entry, batch)) touched.add(entry);
      }
    }
    for (const { requester, index, range } of batch.deviceTlbs) {
      const entry = this.#entries.get(requester);
      if (entry === undefined) continue;
      touched.add(entry);
      const { region } = entry.space;
      const indexes = index === undefined ? entry.space.indexes() : [index];
      for (const one of indexes) this.#guard(entry.space, () => region.invalidateDeviceIotlb(range, one));
    }
    return this.#confirmed(touched);
  }

  /** Looks the structures up anew that `batch` covers, and follows all that is reached through them. */
  #renew(batch: InvalidationBatch, touched: Set<Entry>): void {
    for (const entry of this.#structuresCovered(batch)) touched.add(entry);
    // In one transaction: a device that moves from one kind of space to the other is never seen in neither.
    this.#together(() => {
      for (const { space } of touched) space.refresh();
    });
    for (const entry of touched) {
      this.#guard(entry.space, () => entry.space.region.invalidate(ALL_PAGES));
      this.#learn(entry);
    }
  }

  #structuresCovered(batch: InvalidationBatch): Iterable<Entry> {
    if (batch.everyStructure) return this.#entries.values();
    const covered: Set<Entry> = new Set();
    for (const requester of batch.sources) {
      const entry = this.#entries.get(requester);
      if (entry !== undefined) covered.add(entry);
    }
    if (batch.structureDomains.size === 0) return covered;
    for (const entry of this.#entries.values()) {
      for (const index of this.#indexes(entry.space)) {
        const domain = entry.domains.get(index);
        // What was not present belongs to no domain that the guest could have named.
        if (domain === undefined || batch.structureDomains.has(domain)) covered.add(entry);
      }
    }
    return covered;
  }

  /** Follows the contents that `batch` covers for one requester; says whether there were any. */
  #follow(entry: Entry, batch: InvalidationBatch): boolean {
    const { space } = entry;
    if (this.#state.capability.PASID) {
      // Translations of a PASID without notifiers may be cached under a domain that nobody remembers.
      this.#guard(space, () => space.region.invalidate(ALL_PAGES, NO_INDEX));
    }
    if (batch.everything) {
      this.#guard(space, () => space.region.invalidate(ALL_PAGES));
      this.#learn(entry);
      return true;
    }
    let followed = false;
    for (const index of this.#indexes(space)) {
      const ranges = this.#rangesToFollow(entry, index, batch);
      if (ranges.length === 0) continue;
      followed = true;
      for (const range of ranges) this.#guard(space, () => space.region.invalidate(range, index));
    }
    return followed;
  }

  #rangesToFollow(entry: Entry, index: number, batch: InvalidationBatch): readonly PageRange[] {
    const known = entry.domains.get(index);
    const now = entry.space.domainOf(index);
    if (!entry.domains.has(index) || now !== known) {
      // Structures may change without an invalidation, and a walk made since, for another device or for new RAM, may
      // have taken contents from either domain: an invalidation of neither may then pass them by.
      entry.domains.set(index, now);
      return EVERY_PAGE;
    }
    if (now === undefined) return NO_PAGES;
    const ranges = batch.pagesOf(now, index);
    return ranges.length > 0 && batch.coversPages(now) && this.#nested(entry.space, index)
      ? EVERY_PAGE
      : ranges;
  }

  /** Second-stage pages are no pages of the device's addresses in a nested translation: any of those may lead there. */
  #nested(space: RequesterSpace, index: number): boolean {
    return this.#state.capability.NEST && space.region.translation(index).kind === 'nested';
  }

  #learn(entry: Entry): void {
    const domains = new Map<number, number | undefined>();
    for (const index of this.#indexes(entry.space)) domains.set(index, entry.space.domainOf(index));
    entry.domains = domains;
  }

  /** Without PASID support there is nothing but requests without PASID. */
  #indexes(space: RequesterSpace): Iterable<number> {
    return this.#state.capability.PASID ? space.indexes() : WITHOUT_PASID;
  }

  #confirmed(entries: Iterable<Entry>): void | Promise<void> {
    const pending: Promise<void>[] = [];
    const ask = (space: RequesterSpace, barrier: () => void | Promise<void>): void => {
      const answer = this.#guard(space, barrier);
      if (answer !== undefined) pending.push(answer.catch((error: unknown) => this.#failed(space, error)));
    };
    for (const { space } of entries) {
      ask(space, () => space.space.barrier());
      ask(space, () => space.region.barrier());
    }
    if (pending.length > 0) return Promise.all(pending).then(() => undefined);
  }

  #together(change: () => void): void {
    this.#guard(undefined, () => this.#state.memory.topology.transaction(change));
  }

  /** Whoever listens may fail; the guest and its other devices go on. */
  #guard<T>(space: RequesterSpace | undefined, call: () => T): T | undefined {
    try {
      return call();
    } catch (error) {
      this.#failed(space, error);
      return undefined;
    }
  }

  #failed(space: RequesterSpace | undefined, error: unknown): void {
    const who = space === undefined ? 'a requester' : formatRequesterId(space.requester);
    const why = error instanceof Error ? error.message : String(error);
    this.#observer?.observe({
      kind: 'sink-failed',
      source: 'VT-d',
      message: `what follows the mappings of ${who} failed and may still hold some that the guest has withdrawn: ${why}`,
      details: space === undefined ? {} : { requester: who },
    });
  }
}

const WITHOUT_PASID: readonly number[] = [0];
const EVERY_PAGE: readonly PageRange[] = [ALL_PAGES];
const NO_PAGES: readonly PageRange[] = [];
