import {
  Access,
  type AddressSpace,
  ALL_PAGES,
  type IommuTlbEntry,
  intersect,
  type MemoryListener,
  type MemorySection,
  PAGE_SIZE,
  type PageRange,
  pageOf,
  RamRegion,
  TranslatingRegion,
} from '../memory/index.ts';
import { walkByTranslating } from './default-walk.ts';
import { Iotlb } from './iotlb.ts';
import type { LeafVisitor } from './leaf-batch.ts';
import type { Ledger } from './ledger.ts';
import {
  describeIncomplete,
  type Incomplete,
  type IommuEvent,
  type IommuNotifier,
  type NotifierEvents,
  NotifierRefusedError,
  ReplayError,
  type ReplayReport,
} from './notifier.ts';
import { Shadow } from './shadow.ts';
import { DEFAULT_WALK_BUDGET, type WalkBudget, type WalkReport } from './walk-report.ts';
import { withLeavesBetween, withLeavesOverEdges } from './whole-leaves.ts';

/** A notifier as registered: a shadow keeps a ledger, a cache does not. */
type Registration = { readonly notifier: IommuNotifier; readonly shadow: Shadow | undefined };

/**
 * A region whose accesses a guest IOMMU translates, with the notifiers that follow its mappings.
 *
 * A model says how a page translates (`resolve`) and, where it has tables, how to walk them (`walk`); when anything
 * may have changed it says which range (`invalidate`). All else is here.
 */
export abstract class IommuRegion extends TranslatingRegion {
  readonly target: AddressSpace;
  readonly budget: WalkBudget;
  readonly #registrations: Set<Registration> = new Set();
  /** Notifiers that are being told of the end of their registration. */
  readonly #leaving: Map<IommuNotifier, Shadow> = new Map();
  readonly #iotlb: Iotlb | undefined;
  #targetListener: MemoryListener | undefined;

  /**
   * `target` is where translated accesses go (guest-physical memory); it must outlive the region. `iotlb: false`
   * makes every translation a full walk.
   */
  constructor(
    name: string,
    pages: number,
    target: AddressSpace,
    options: { readonly budget?: WalkBudget; readonly iotlb?: boolean } = {},
  ) {
    super(name, pages);
    this.target = target;
    this.budget = options.budget ?? DEFAULT_WALK_BUDGET;
    this.#iotlb = (options.iotlb ?? true) ? new Iotlb() : undefined;
  }

  /** Translates one page by a full walk: see {@link TranslatingRegion.translatePage}. */
  protected abstract resolve(page: number, access: Access, index: number): IommuTlbEntry;

  /** Why `events` cannot be served for `index`, with the remedy; undefined when they can. */
  protected refuses(_events: NotifierEvents, _index: number): string | undefined {
    return undefined;
  }

  /**
   * Visits the leaves that overlap `range`, ascending, each once, whole and at its own size. `granule` (pages) matters
   * only to this default, which translates at every granule. Costs, faults and a cut go to `report`.
   */
  walk(range: PageRange, index: number, visit: LeafVisitor, report: WalkReport, granule: number): void {
    walkByTranslating(range, granule, (page) => this.resolve(page, Access.None, index), visit, report);
  }

  override translatePage(page: number, access: Access, index: number): IommuTlbEntry {
    // What is cached may allow less than the tables do, and whoever only asks wants to know the tables.
    if (access === Access.None) return this.resolve(page, access, index);
    const cached = this.#iotlb?.lookup(page, access, index);
    if (cached !== undefined) return cached;
    const entry = this.resolve(page, access, index);
    // An access that only read has not made a dirty bit due; the first write walks again.
    const known = (access & Access.Write) === 0 ? entry.access & Access.Read : entry.access;
    if (entry.fault === undefined) this.#iotlb?.insert(entry, known as Access, index);
    return entry;
  }

  /** Translates the byte address `iova`; `Access.None` asks and leaves no trace. RangeError beyond the region. */
  translate(iova: bigint, access: Access, index = 0): IommuTlbEntry {
    const page = pageOf(iova);
    if (page >= this.pages)
      throw new RangeError(`IOVA 0x${iova.toString(16)} lies beyond region ${this.name}`);
    return this.translatePage(page, access, index);
  }

  /**
   * Registers `n` for changes from now on. A shadow is told of nothing that exists; use
   * {@link registerNotifierReplay} for that. Throws NotifierRefusedError, with the remedy, when the model cannot serve
   * it, and Error when it is registered already.
   */
  registerNotifier(n: IommuNotifier): void {
    this.#register(n, { granule: 1, isWrite: false });
  }

  /**
   * Registers `n` and tells it of every mapping that exists, as one step: nothing can be lost or doubled in between.
   *
   * @param granularity bytes, a power of two of at least 4,096, at which `n` would like to be told. Finer leaves that
   *   do not form such a granule arrive as they are.
   * @param isWrite leave out mappings that do not allow writing, now and later.
   * @throws NotifierRefusedError as `registerNotifier`; ReplayError when `n` refused a mapping, failed, or the walk was
   *   cut: then all that was told has been taken back and nothing is registered.
   */
  registerNotifierReplay(n: IommuNotifier, granularity: bigint, isWrite: boolean): ReplayReport {
    if (
      granularity < BigInt(PAGE_SIZE) ||
      (granularity & (granularity - 1n)) !== 0n ||
      granularity >> 64n !== 0n
    ) {
      throw new RangeError(`replay granularity ${granularity} is not a power of two of at least 4096 bytes`);
    }
    if (n.events !== 'map-and-unmap') {
      throw new TypeError(`only a map-and-unmap notifier can be replayed to, not ${n.events}`);
    }
    const registration = this.#register(n, { granule: Number(granularity >> 12n), isWrite });
    const { report, incomplete } = sparing(() => (registration.shadow as Shadow).reconcile(n.range));
    if (incomplete === undefined) return report as ReplayReport;
    try {
      this.unregisterNotifier(n);
    } catch {
      // A sink that fails again while it is told of the end has had its say: the first failure is the one to report.
    }
    throw new ReplayError(`${this.name}: ${describeIncomplete(incomplete)}`, incomplete);
  }

  /** Ends `n`'s registration; a shadow is told that everything it holds is gone. Unknown notifiers are ignored. */
  unregisterNotifier(n: IommuNotifier): void {
    const registration = this.#registrationOf(n);
    if (registration === undefined) return;
    this.#registrations.delete(registration);
    if (this.#targetListener !== undefined && ![...this.#registrations].some((r) => r.shadow !== undefined)) {
      this.target.removeListener(this.#targetListener);
      this.#targetListener = undefined;
    }
    const { shadow } = registration;
    if (shadow === undefined) return;
    this.#leaving.set(n, shadow);
    try {
      shadow.close();
    } finally {
      if (this.#leaving.get(n) === shadow) this.#leaving.delete(n);
    }
  }

  /** Notifiers registered. */
  get notifiers(): readonly IommuNotifier[] {
    return [...this.#registrations].map((registration) => registration.notifier);
  }

  /** What the sink behind `n` was told and accepted; undefined when `n` is no registered shadow. Not to be changed. */
  ledgerOf(n: IommuNotifier): Ledger | undefined {
    return this.#registrationOf(n)?.shadow?.ledger;
  }

  /**
   * The sink behind `n` has not got a mapping that it was told and seemed to accept: the ledger forgets it, and `n` is
   * not told of its end. False when the ledger has no mapping exactly so, or is being gone through at this moment.
   */
  forget(n: IommuNotifier, iova: number, pages: number): boolean {
    return this.#registrationOf(n)?.shadow?.forget(iova, pages) ?? false;
  }

  /** Reconciles the one shadow behind `n`; what stops it goes to `n.incomplete`. */
  reconcile(n: IommuNotifier, range: PageRange): void {
    const registration = this.#registrationOf(n);
    if (registration !== undefined) this.#follow(range, [registration], false);
  }

  /** `range` may have changed, for one index or for all. Shadows are reconciled, caches told to forget. */
  invalidate(range: PageRange, index?: number): void {
    this.#iotlb?.invalidate(range);
    this.#followWhole(range, index);
    this.#tell('unmap', range, index);
  }

  /** The guest invalidated `range` in the device's own translation cache. */
  invalidateDeviceIotlb(range: PageRange, index: number): void {
    this.#tell('device-iotlb-unmap', range, index);
  }

  /** Resolves, or returns, when all that notifiers were told has taken effect. Rejects or throws what they do. */
  barrier(): void | Promise<void> {
    const pending: Promise<void>[] = [];
    for (const { notifier } of this.#registrations) {
      const result = notifier.barrier?.();
      if (result !== undefined) pending.push(result);
    }
    if (pending.length > 0) return Promise.all(pending).then(() => undefined);
  }

  /** Follows `range` with all of the leaves that it touches: see whole-leaves.ts. */
  #followWhole(range: PageRange, index: number | undefined): void {
    if (range.start >= range.end) return;
    const shadows: Shadow[] = [];
    for (const { shadow } of this.#concerned(index)) if (shadow !== undefined) shadows.push(shadow);
    const touched = withLeavesBetween(range, shadows, this, this.budget);
    let wider = withLeavesOverEdges(touched, range, shadows);
    for (let wide: PageRange | undefined; wide !== wider; ) {
      wide = wider;
      for (const shadow of shadows) shadow.forgetOverEdges(wide);
      this.#follow(wide, this.#concerned(index), false);
      // That may have come across new leaves which `range` touches.
      wider = withLeavesOverEdges(wide, range, shadows);
    }
  }

  #registrationOf(n: IommuNotifier): Registration | undefined {
    for (const registration of this.#registrations) if (registration.notifier === n) return registration;
    return undefined;
  }

  #register(n: IommuNotifier, how: { readonly granule: number; readonly isWrite: boolean }): Registration {
    if (this.notifiers.includes(n)) throw new Error(`the notifier is registered with ${this.name} already`);
    const remedy = this.refuses(n.events, n.index);
    if (remedy !== undefined) throw new NotifierRefusedError(`${this.name}: ${remedy}`);
    const shadow =
      n.events === 'map-and-unmap' ? new Shadow(n, this, { ...how, budget: this.budget }) : undefined;
    // One that comes back from inside notify() must first be rid of what it still holds.
    this.#leaving.get(n)?.close();
    const registration = { notifier: n, shadow };
    this.#registrations.add(registration);
    if (shadow !== undefined) this.#watchTarget();
    return registration;
  }

  /**
   * Reconciles shadows. Several of them may stand before one sink, as around a hole in the region, so what has to go
   * behind any of them goes before anything comes behind another.
   */
  #follow(range: PageRange, registrations: Iterable<Registration>, anew: boolean): void {
    const rests: { readonly registration: Registration; readonly rest: PageRange }[] = [];
    for (const registration of registrations) {
      const { notifier, shadow } = registration;
      if (shadow === undefined) continue;
      // The guest may have turned to something that the model cannot serve; what was true at registration is asked again.
      const remedy = this.refuses(notifier.events, notifier.index);
      if (remedy !== undefined) {
        notifier.incomplete?.({ kind: 'unsupported', remedy });
        continue;
      }
      const { rest, incomplete } = sparing(() => shadow.retract(range, anew));
      if (incomplete !== undefined) notifier.incomplete?.(incomplete);
      else if (rest !== undefined) rests.push({ registration, rest });
    }
    for (const { registration, rest } of rests) {
      const { notifier, shadow } = registration;
      if (shadow === undefined || !this.#registrations.has(registration)) continue;
      const { incomplete } = sparing(() => shadow.complete(rest));
      if (incomplete !== undefined) notifier.incomplete?.(incomplete);
    }
  }

  #tell(events: NotifierEvents, range: PageRange, index: number | undefined): void {
    for (const { notifier } of this.#concerned(index)) {
      if (notifier.events === events) notifyUnmap(notifier, range);
    }
  }

  /** Notifiers come and go inside notify(): one that has gone must hear nothing, one that has come knows all. */
  *#concerned(index: number | undefined): Iterable<Registration> {
    const before = [...this.#registrations];
    for (const registration of before) {
      if (!this.#registrations.has(registration)) continue;
      if (index === undefined || registration.notifier.index === index) yield registration;
    }
  }

  /** Which part of a mapping is RAM depends on the target's sections, so when RAM comes or goes shadows look again. */
  #watchTarget(): void {
    if (this.#targetListener !== undefined) return;
    let listening = false;
    let ramChanged = false;
    const removed: MemorySection[] = [];
    this.#targetListener = {
      sectionAdded: (section) => {
        if (section.region instanceof RamRegion) ramChanged = true;
      },
      sectionRemoved: (section) => {
        if (section.region instanceof RamRegion) removed.push(section);
      },
      committed: () => {
        const gone = removed.splice(0);
        const changed = ramChanged || gone.length > 0;
        ramChanged = false;
        if (listening && changed) this.#resolveAnew(gone);
      },
      // RAM that goes is gone only when it is gone from the hosts that reach it through here.
      barrier: () => this.barrier(),
    };
    this.target.addListener(this.#targetListener);
    listening = true;
  }

  #resolveAnew(gone: readonly PageRange[]): void {
    for (const { shadow, notifier } of this.#concerned(undefined)) {
      if (shadow === undefined) continue;
      const { incomplete } = sparing(() => {
        shadow.withdrawTargets(gone);
        return { incomplete: undefined };
      });
      if (incomplete !== undefined) notifier.incomplete?.(incomplete);
    }
    this.#follow(ALL_PAGES, this.#concerned(undefined), true);
  }
}

/** Does one shadow's share of the work: a sink that throws must not keep the guest's other devices from following. */
function sparing<T extends { readonly incomplete: Incomplete | undefined }>(
  share: () => T,
): T | { readonly incomplete: Incomplete; readonly rest?: undefined; readonly report?: undefined } {
  try {
    return share();
  } catch (error) {
    return { incomplete: { kind: 'sink-failed', error } };
  }
}

function notifyUnmap(notifier: IommuNotifier, range: PageRange): void {
  const cropped = intersect(range, notifier.range);
  if (cropped === undefined) return;
  const event: IommuEvent = {
    op: 'unmap',
    iova: cropped.start,
    pages: cropped.end - cropped.start,
    target: 0,
    access: Access.None,
    ram: false,
  };
  try {
    notifier.notify(event);
  } catch (error) {
    notifier.incomplete?.({ kind: 'sink-failed', error });
  }
}
