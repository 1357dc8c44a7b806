import { ALL_PAGES, type Observer, type PageRange } from '../memory/index.ts';
import { Followers } from './followers.ts';
import type { InvalidationBatch } from './invalidation-batch.ts';
import type { RequesterId } from './requester-id.ts';
import type { RequesterView, RequesterViews } from './requester-view.ts';

/** A requester's view and what is remembered of it. */
interface Entry<V> {
  readonly view: V;
  /**
   * The domain whose contents each translation index holds, which need not be the one that the tables name now; no
   * entry for an index that has not been looked at yet.
   */
  domains: Map<number, number | undefined>;
}

/** An index that no notifier has: an invalidation of it only empties the region's IOTLB. */
const NO_INDEX = -1;

/**
 * The requesters that somebody has asked for, and what invalidations do to them. Serves every IOMMU whose structures lie
 * in memory: a model says what a requester sees now and what the guest invalidated, and no more.
 */
export class RequesterSpaces<V extends RequesterView> {
  readonly #views: RequesterViews<V>;
  readonly #followers: Followers;
  readonly #entries: Map<RequesterId, Entry<V>> = new Map();

  /** `observer` hears `sink-failed`. */
  constructor(views: RequesterViews<V>, observer: Observer | undefined) {
    this.#views = views;
    this.#followers = new Followers(views.name, observer);
  }

  /** The view of `requester`, made when first asked for. RangeError for what is no requester ID. */
  get(requester: RequesterId): V {
    if (!Number.isInteger(requester) || requester < 0 || requester > 0xffff) {
      throw new RangeError(`${requester} is no requester ID (0 to 0xffff)`);
    }
    let entry = this.#entries.get(requester);
    if (entry === undefined) {
      entry = { view: this.#views.make(requester), domains: new Map() };
      this.#learn(entry);
      this.#entries.set(requester, entry);
    }
    return entry.view;
  }

  /** Forgets `requester`; throws, and forgets nothing, while its space has listeners. */
  release(requester: RequesterId): void {
    const entry = this.#entries.get(requester);
    if (entry === undefined) return;
    entry.view.dispose();
    this.#entries.delete(requester);
  }

  /** Changes what requesters see, all in one transaction. Returns, or resolves, when all sinks have confirmed; never rejects. */
  change(one: (view: V) => void): void | Promise<void> {
    this.#together(() => {
      for (const { view } of this.#entries.values()) one(view);
    });
    return this.#confirmed(this.#entries.values());
  }

  /**
   * Does what `batch` covers: structures first, for contents are reached through them. Returns, or resolves, when the
   * sinks behind every requester that was touched have confirmed; never rejects.
   */
  apply(batch: InvalidationBatch): void | Promise<void> {
    const touched: Set<Entry<V>> = new Set();
    if (batch.coversStructures) this.#renew(batch, touched);
    if (batch.coversContents && this.#views.isTranslating()) {
      for (const entry of this.#entries.values()) {
        if (!touched.has(entry) && this.#follow(entry, batch)) touched.add(entry);
      }
    }
    for (const { requester, index, range } of batch.deviceTlbs) {
      const entry = this.#entries.get(requester);
      if (entry === undefined) continue;
      touched.add(entry);
      const { view } = entry;
      const indexes = index === undefined ? this.#indexes(view) : [index];
      for (const one of indexes)
        this.#followers.tell(view, () => view.region.invalidateDeviceIotlb(range, one));
    }
    return this.#confirmed(touched);
  }

  /** Looks the structures up anew that `batch` covers, and follows all that is reached through them. */
  #renew(batch: InvalidationBatch, touched: Set<Entry<V>>): void {
    for (const entry of this.#structuresCovered(batch)) touched.add(entry);
    // In one transaction: a device that moves from one kind of space to the other is never seen in neither.
    this.#together(() => {
      for (const { view } of touched) view.refresh();
    });
    for (const entry of touched) {
      this.#followers.tell(entry.view, () => entry.view.region.invalidate(ALL_PAGES));
      this.#learn(entry);
    }
  }

  #structuresCovered(batch: InvalidationBatch): Iterable<Entry<V>> {
    if (batch.everyStructure) return this.#entries.values();
    const covered: Set<Entry<V>> = new Set();
    for (const requester of batch.sources) {
      const entry = this.#entries.get(requester);
      if (entry !== undefined) covered.add(entry);
    }
    if (batch.structureDomains.size === 0) return covered;
    for (const entry of this.#entries.values()) {
      for (const index of this.#indexes(entry.view)) {
        const domain = entry.domains.get(index);
        // What was not present belongs to no domain that the guest could have named.
        if (domain === undefined || batch.structureDomains.has(domain)) covered.add(entry);
      }
    }
    return covered;
  }

  /** Follows the contents that `batch` covers for one requester; says whether there were any. */
  #follow(entry: Entry<V>, batch: InvalidationBatch): boolean {
    const { view } = entry;
    if (this.#views.hasPasids) {
      // Translations of a PASID without notifiers may be cached under a domain that nobody remembers.
      this.#followers.tell(view, () => view.region.invalidate(ALL_PAGES, NO_INDEX));
    }
    if (batch.everything) {
      this.#followers.tell(view, () => view.region.invalidate(ALL_PAGES));
      this.#learn(entry);
      return true;
    }
    let followed = false;
    for (const index of this.#indexes(view)) {
      const ranges = this.#rangesToFollow(entry, index, batch);
      if (ranges.length === 0) continue;
      followed = true;
      for (const range of ranges) this.#followers.tell(view, () => view.region.invalidate(range, index));
    }
    return followed;
  }

  #rangesToFollow(entry: Entry<V>, index: number, batch: InvalidationBatch): readonly PageRange[] {
    const known = entry.domains.get(index);
    const now = entry.view.domainOf(index);
    if (!entry.domains.has(index) || now !== known) {
      // Structures may change without an invalidation, and a walk made since, for another device or for new RAM, may
      // have taken contents from either domain: an invalidation of neither may then pass them by.
      entry.domains.set(index, now);
      return EVERY_PAGE;
    }
    if (now === undefined) return NO_PAGES;
    const ranges = batch.pagesOf(now, index);
    // Any of the requester's addresses may lead to pages of a stage behind its tables.
    return ranges.length > 0 && batch.coversPages(now) && entry.view.isNested(index) ? EVERY_PAGE : ranges;
  }

  #learn(entry: Entry<V>): void {
    const domains = new Map<number, number | undefined>();
    for (const index of this.#indexes(entry.view)) domains.set(index, entry.view.domainOf(index));
    entry.domains = domains;
  }

  /** Translation indexes that have notifiers, and 0: requests without PASID. */
  #indexes(view: V): Iterable<number> {
    if (!this.#views.hasPasids) return WITHOUT_PASID;
    return new Set([0, ...view.region.notifiers.map((notifier) => notifier.index)]);
  }

  #confirmed(entries: Iterable<Entry<V>>): void | Promise<void> {
    return this.#followers.confirmed([...entries].map(({ view }) => view));
  }

  #together(change: () => void): void {
    this.#followers.tell(undefined, () => this.#views.memory.topology.transaction(change));
  }
}

const WITHOUT_PASID: readonly number[] = [0];
const EVERY_PAGE: readonly PageRange[] = [ALL_PAGES];
const NO_PAGES: readonly PageRange[] = [];
