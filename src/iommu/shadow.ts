/**
 * Reconcile: the one piece of logic that keeps a sink equal to the guest's tables.
 *
 *     desired(range) = what a walk of the guest's tables yields, in ascending order
 *     ledger(range)  = exactly what the sink was told and accepted
 *     reconcile      = unmap what is in the ledger and no longer desired, map what is desired and not in the ledger
 *
 * @module
 */
import {
  Access,
  type AddressSpace,
  type FlatView,
  intersect,
  type MemorySection,
  type PageRange,
  RamRegion,
} from '../memory/index.ts';
import { GranuleRuns } from './granule-runs.ts';
import { type LeafBatch, type LeafVisitor, type Mapping } from './leaf-batch.ts';
import { Ledger, type LedgerCursor, type LedgerMapping } from './ledger.ts';
import type { Incomplete, IommuEvent, IommuNotifier, ReplayReport } from './notifier.ts';
import { type WalkBudget, WalkReport } from './walk-report.ts';

/** Ledger flag beside the access bits: the target is not RAM that the access fits. */
const NOT_RAM = 4;
/** The flags whose change is a change for the sink. */
const SEEN_BY_SINK = 7;
/** Ledger flags of a leaf that was split: it began before this piece, it goes on behind it. */
const CONTINUED = 8;
const CONTINUES = 16;

/** What a shadow needs of the region it shadows. */
export interface ShadowSource {
  /** Where mappings point. */
  readonly target: AddressSpace;
  /** Pages that it translates. */
  readonly pages: number;
  /** See `IommuRegion.walk`. */
  walk(range: PageRange, index: number, visit: LeafVisitor, report: WalkReport, granule: number): void;
}

/** What a reconcile did, and why it stopped early if it did. */
export interface ReconcileOutcome {
  readonly report: ReplayReport;
  readonly incomplete: Incomplete | undefined;
}

/** How a shadow looks at the tables. */
export interface ShadowOptions {
  /** Pages that the sink would like mappings to be made of, a power of two. Finer leaves that do not form such a granule are told as they are. */
  readonly granule: number;
  /** Leave out leaves that do not allow writing. */
  readonly isWrite: boolean;
  readonly budget: WalkBudget;
}

/** A map-and-unmap notifier with its ledger. */
export class Shadow {
  readonly notifier: IommuNotifier;
  /** The notifier's range, as far as the region reaches. */
  readonly range: PageRange;
  readonly ledger: Ledger = new Ledger();
  readonly #source: ShadowSource;
  readonly #options: ShadowOptions;
  #event: { -readonly [K in keyof IommuEvent]: IommuEvent[K] } = {
    op: 'map',
    iova: 0,
    pages: 0,
    target: 0,
    access: Access.None,
    ram: true,
  };
  /** What is still to be reconciled: what a call from inside notify() asked for waits here. */
  #again: PageRange | undefined;
  /** Whether that must be held against the target's sections again. */
  #anew = false;
  /** Target pages that are no longer what they were; mappings onto them are still to be taken back. */
  readonly #gone: PageRange[] = [];
  /** Whether the ledger is being gone through: nothing else may change it. */
  #active = false;
  #closed = false;

  constructor(notifier: IommuNotifier, source: ShadowSource, options: ShadowOptions) {
    this.notifier = notifier;
    this.range = intersect(notifier.range, { start: 0, end: source.pages }) ?? { start: 0, end: 0 };
    this.#source = source;
    this.#options = options;
  }

  /** Whether {@link close} was called. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Whether a reconcile under way has lost its ground: closed, or the target's sections changed. */
  get interrupted(): boolean {
    return this.#closed || this.#anew;
  }

  /**
   * Makes the sink equal to the tables in `range`, widened so that neither a mapping of the ledger nor a leaf is cut
   * by its edges. Returns why it stopped early, if it did; the ledger is exact in any case. Called from inside
   * notify() it takes place after the reconcile under way. With `anew`, also leaves that stand in the ledger already
   * are held against the target's sections again.
   */
  reconcile(range: PageRange, anew = false): ReconcileOutcome {
    let walk = new WalkReport(this.#options.budget);
    let mappings = 0;
    let incomplete: Incomplete | undefined;
    const clipped = intersect(range, this.range);
    if (clipped !== undefined && !this.#closed) {
      this.#again = this.#again === undefined ? clipped : hull(this.#again, clipped);
      this.#anew ||= anew;
      if (!this.#active) {
        this.#active = true;
        try {
          while (this.#again !== undefined && incomplete === undefined && !this.#closed) {
            const next: PageRange = this.#again;
            const pass = new ReconcilePass(this, this.#source, this.#options, this.#anew);
            this.#again = undefined;
            this.#anew = false;
            this.#withdraw();
            pass.run(next);
            if (this.#anew) this.#again = hull(next, this.#again ?? next);
            mappings += pass.mapped;
            walk = pass.report;
            incomplete = pass.incomplete;
          }
        } finally {
          this.#active = false;
          this.#again = undefined;
          this.#anew = false;
        }
      }
    }
    return { report: { mappings, walk }, incomplete };
  }

  /** Takes back every mapping whose target lies in `gone`: the memory there is not what it was. */
  withdrawTargets(gone: readonly PageRange[]): void {
    this.#gone.push(...gone);
    if (this.#active) return;
    this.#active = true;
    try {
      this.#withdraw();
    } finally {
      this.#active = false;
    }
  }

  /**
   * Tells the sink that everything is gone, and nothing after that. A sink that throws is still told the rest; then
   * the first error is thrown.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // Called from inside notify(), whose event must stay what it is.
    this.#event = { ...this.#event };
    const errors: unknown[] = [];
    for (const mapping of this.ledger.mappings()) {
      try {
        this.tellUnmap(mapping);
      } catch (error) {
        errors.push(error);
      }
    }
    this.ledger.clear();
    if (errors.length > 0) throw errors[0];
  }

  tellMap(mapping: Mapping, ram: boolean): boolean {
    const event = this.#event;
    event.op = 'map';
    event.iova = mapping.iova;
    event.pages = mapping.pages;
    event.target = mapping.target;
    event.access = mapping.access;
    event.ram = ram;
    return this.notifier.notify(event) !== false;
  }

  tellUnmap(mapping: LedgerMapping): void {
    const event = this.#event;
    event.op = 'unmap';
    event.iova = mapping.iova;
    event.pages = mapping.pages;
    event.target = mapping.target;
    event.access = (mapping.flags & 3) as Access;
    event.ram = (mapping.flags & NOT_RAM) === 0;
    this.notifier.notify(event);
  }

  /** A range that a throwing sink left unfinished is gone through again next time. */
  #withdraw(): void {
    for (let gone = this.#gone[0]; gone !== undefined; gone = this.#gone[0]) {
      const cursor = this.ledger.cursor(0);
      while (cursor.valid && !this.#closed) {
        const mapping = cursor.mapping;
        if (mapping.target < gone.end && gone.start < mapping.target + mapping.pages) {
          cursor.remove();
          this.tellUnmap(mapping);
        } else {
          cursor.next();
        }
      }
      this.#gone.shift();
    }
  }
}

/** One merge of tables and ledger over one range. */
class ReconcilePass {
  mapped = 0;
  incomplete: Incomplete | undefined;
  /** Of the last walk. Each has the whole budget: the second must not fail for what the first has read. */
  report: WalkReport;
  readonly #shadow: Shadow;
  readonly #source: ShadowSource;
  readonly #options: ShadowOptions;
  readonly #view: FlatView;
  readonly #runs: GranuleRuns | undefined;
  /** Whether a leaf that stands in the ledger just so needs no second look. */
  readonly #trusting: boolean;
  #section: MemorySection | undefined;
  #cursor: LedgerCursor;
  /** Whether this walk may map; the one before only unmaps. */
  #mapping = false;
  #missing = false;

  constructor(shadow: Shadow, source: ShadowSource, options: ShadowOptions, anew: boolean) {
    this.#shadow = shadow;
    this.#source = source;
    this.#options = options;
    this.report = new WalkReport(options.budget);
    this.#view = source.target.view;
    this.#cursor = shadow.ledger.cursor(0);
    this.#trusting = !anew && options.granule === 1;
    this.#runs =
      options.granule > 1 ? new GranuleRuns(options.granule, (leaf) => this.#leaf(leaf)) : undefined;
  }

  /**
   * Everything that has to go is unmapped before anything is mapped: a domain switch must not need room for both
   * domains in a sink that is nearly full. So what changed costs a second walk, what did not change does not.
   */
  run(range: PageRange): void {
    const wide = this.#widen(range);
    const ledger = this.#shadow.ledger;
    this.#cursor = ledger.cursor(wide.start);
    if (this.#cursor.valid && this.#cursor.iova < wide.end) {
      this.#sweep(wide);
      if (!this.#missing || this.incomplete !== undefined || this.#shadow.interrupted) return;
      this.#cursor = ledger.cursor(wide.start);
    }
    this.#mapping = true;
    this.#sweep(wide);
  }

  #sweep(range: PageRange): void {
    const { index } = this.#shadow.notifier;
    const report = new WalkReport(this.#options.budget);
    this.report = report;
    this.#source.walk(range, index, (batch) => this.#batch(batch), report, this.#options.granule);
    this.#runs?.flush();
    if (this.#shadow.interrupted || this.incomplete !== undefined) return;
    if (report.cutAt !== undefined) {
      this.incomplete = { kind: 'walk-cut', report };
      return;
    }
    while (this.#cursor.valid && this.#cursor.iova < range.end && !this.#shadow.interrupted)
      this.#unmapHere();
  }

  #batch(batch: LeafBatch): boolean {
    if (this.#shadow.interrupted) return false;
    const runs = this.#runs;
    for (let i = 0; i < batch.length; i++) {
      if (this.#trusting) {
        i = this.#cursor.skipEqual(batch, i);
        if (i === batch.length) break;
      }
      const leaf = this.#crop(batch.iova[i]!, batch.pages, batch.target[i]!, batch.access[i] as Access);
      if (leaf === undefined) continue;
      if (runs === undefined) this.#leaf(leaf);
      else runs.push(leaf);
      if (this.incomplete !== undefined || this.#shadow.interrupted) return false;
    }
    return true;
  }

  /** What of a leaf the notifier wants to hear of. */
  #crop(iova: number, pages: number, target: number, access: Access): Mapping | undefined {
    if (!this.#wants(access)) return undefined;
    const { start, end } = this.#shadow.range;
    const from = Math.max(iova, start);
    const to = Math.min(iova + pages, end);
    return from < to ? { iova: from, pages: to - from, target: target + (from - iova), access } : undefined;
  }

  #wants(access: Access): boolean {
    return this.#options.isWrite ? (access & Access.Write) !== 0 : access !== Access.None;
  }

  /** Splits a leaf where its target stops being one section of RAM, and places the pieces. */
  #leaf(leaf: Mapping): void {
    const last = leaf.target + leaf.pages;
    let target = leaf.target;
    while (target < last && this.incomplete === undefined && !this.#shadow.interrupted) {
      let section = this.#section;
      if (section === undefined || target < section.start || target >= section.end) {
        section = this.#view.find(target);
        this.#section = section;
      }
      const ram = section?.region instanceof RamRegion ? section.region : undefined;
      const end =
        ram === undefined ? nextRam(this.#view, target, last) : Math.min(last, section?.end ?? last);
      const usable = accessTo(ram, leaf.access);
      const fits = this.#wants(usable);
      const marks =
        (target > leaf.target ? CONTINUED : 0) | (end < last ? CONTINUES : 0) | (fits ? 0 : NOT_RAM);
      const iova = leaf.iova + (target - leaf.target);
      this.#place({ iova, pages: end - target, target, access: fits ? usable : leaf.access }, marks);
      target = end;
    }
  }

  /** `marks` are the ledger flags beside the access. */
  #place(piece: Mapping, marks: number): void {
    const cursor = this.#cursor;
    const flags = piece.access | marks;
    const end = piece.iova + piece.pages;
    while (cursor.valid && cursor.iova < end) {
      const same =
        cursor.iova === piece.iova &&
        cursor.pages === piece.pages &&
        cursor.target === piece.target &&
        (cursor.flags & SEEN_BY_SINK) === (flags & SEEN_BY_SINK);
      if (same) {
        cursor.setFlags(flags);
        cursor.next();
        return;
      }
      this.#unmapHere();
      if (this.#shadow.interrupted) return;
    }
    if (!this.#mapping) {
      this.#missing = true;
      return;
    }
    if (!this.#shadow.tellMap(piece, (marks & NOT_RAM) === 0)) {
      this.incomplete = { kind: 'refused', mapping: { ...piece } };
      return;
    }
    // Whoever unregisters inside notify() has not taken the mapping; one that is told of anything else has.
    if (this.#shadow.closed) return;
    cursor.insert(piece.iova, piece.pages, piece.target, flags);
    this.mapped++;
  }

  /** The ledger first: what notify() does must find the mapping gone. */
  #unmapHere(): void {
    const mapping = this.#cursor.mapping;
    this.#cursor.remove();
    this.#shadow.tellUnmap(mapping);
  }

  /**
   * Leaves and ledger mappings that reach over an edge are taken in whole, as are granules. Sizes nest, so this ends
   * after a few rounds; each looks at one page of the tables.
   */
  #widen(range: PageRange): PageRange {
    const limits = this.#shadow.range;
    let { start, end } = range;
    let edge: PageRange = { start, end: start };
    // A range that has reached its limits cannot grow there: an invalidation of everything looks at no edge.
    if (start > limits.start) edge = this.#edgeOf(start);
    while (edge.start < start) {
      start = edge.start;
      edge = this.#edgeOf(start);
    }
    if (edge.end < end && end < limits.end) edge = this.#edgeOf(end - 1);
    while (edge.end > end) {
      end = edge.end;
      edge = this.#edgeOf(end - 1);
    }
    return { start, end };
  }

  /** The granules that the ledger's mapping and the tables' leaf at `page` touch together, within the notifier's range. */
  #edgeOf(page: number): PageRange {
    let start = page;
    let end = page + 1;
    const held = this.#shadow.ledger.find(page);
    if (held !== undefined) ({ start, end } = this.#wholeLeaf(held));
    const probe = new WalkReport(this.#options.budget);
    const visit = (batch: LeafBatch): boolean => {
      start = Math.min(start, batch.iova[0]!);
      end = Math.max(end, batch.iova[batch.length - 1]! + batch.pages);
      return true;
    };
    this.#source.walk(
      { start: page, end: page + 1 },
      this.#shadow.notifier.index,
      visit,
      probe,
      this.#options.granule,
    );
    const { granule } = this.#options;
    const limits = this.#shadow.range;
    return {
      start: Math.max(limits.start, Math.floor(start / granule) * granule),
      end: Math.min(limits.end, Math.ceil(end / granule) * granule),
    };
  }

  /** What the leaf of which `piece` stands in the ledger covered: with one of its pages, all of them have changed. */
  #wholeLeaf(piece: LedgerMapping): PageRange {
    const { ledger } = this.#shadow;
    let start = piece.iova;
    let end = piece.iova + piece.pages;
    for (let at = piece; (at.flags & CONTINUED) !== 0; ) {
      const before = ledger.find(start - 1);
      if (before === undefined || (before.flags & CONTINUES) === 0) break;
      start = before.iova;
      at = before;
    }
    for (let at = piece; (at.flags & CONTINUES) !== 0; ) {
      const after = ledger.find(end);
      if (after === undefined || (after.flags & CONTINUED) === 0) break;
      end = after.iova + after.pages;
      at = after;
    }
    return { start, end };
  }
}

function hull(a: PageRange, b: PageRange): PageRange {
  return { start: Math.min(a.start, b.start), end: Math.max(a.end, b.end) };
}

/** What of `access` the memory at a leaf's target can give. */
function accessTo(ram: RamRegion | undefined, access: Access): Access {
  if (ram === undefined) return Access.None;
  return ram.readonly ? ((access & Access.Read) as Access) : access;
}

/** First page from `page` on, at most `limit`, at which RAM begins. */
function nextRam(view: FlatView, page: number, limit: number): number {
  for (const section of view.overlapping({ start: page, end: limit })) {
    if (section.region instanceof RamRegion) return section.start;
  }
  return limit;
}
