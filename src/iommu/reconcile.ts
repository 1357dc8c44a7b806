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
  type MemorySection,
  type PageRange,
  RamRegion,
} from '../memory/index.ts';
import { GranuleRuns } from './granule-runs.ts';
import type { LeafBatch, LeafVisitor, Mapping } from './leaf-batch.ts';
import type { Ledger, LedgerCursor, LedgerMapping } from './ledger.ts';
import { CONTINUED, CONTINUES, NOT_RAM, SEEN_BY_SINK } from './ledger-flags.ts';
import type { Incomplete } from './notifier.ts';
import { type WalkBudget, WalkReport } from './walk-report.ts';

/** What desired mappings are read from: a region. */
export interface ReconcileSource {
  /** Where mappings point. */
  readonly target: AddressSpace;
  /** Pages that it translates. */
  readonly pages: number;
  /** See `IommuRegion.walk`. */
  walk(range: PageRange, index: number, visit: LeafVisitor, report: WalkReport, granule: number): void;
}

/** How the tables are looked at. */
export interface ReconcileOptions {
  /** Pages that the sink would like mappings to be made of, a power of two. Finer leaves that do not form such a granule are told as they are. */
  readonly granule: number;
  /** Leave out leaves that do not allow writing. */
  readonly isWrite: boolean;
  readonly budget: WalkBudget;
}

/** Whom the ledger belongs to, and how it is told. */
export interface ReconcileSink {
  readonly ledger: Ledger;
  /** Pages that interest it. */
  readonly range: PageRange;
  /** Which translation of the region it follows. */
  readonly index: number;
  /** Whether it wants to hear nothing more, or the ground under what is going on has changed. */
  readonly interrupted: boolean;
  /** Whether it wants to hear nothing more. */
  readonly closed: boolean;
  /** Of a leaf, `leaf` pages, it is told the part within its range only. */
  cropped(leaf: PageRange): void;
  /** Tells it of a mapping; false when it refused. */
  tellMap(mapping: Mapping, ram: boolean): boolean;
  /** Tells it that a mapping of the ledger is gone. */
  tellUnmap(mapping: LedgerMapping): void;
}

/** One merge of tables and ledger over one range. */
export class ReconcilePass {
  mapped = 0;
  incomplete: Incomplete | undefined;
  /** Of the last walk. Each has the whole budget: the second must not fail for what the first has read. */
  report: WalkReport;
  readonly #sink: ReconcileSink;
  readonly #source: ReconcileSource;
  readonly #options: ReconcileOptions;
  readonly #view: FlatView;
  readonly #runs: GranuleRuns | undefined;
  /** Whether a leaf that stands in the ledger just so needs no second look. */
  readonly #trusting: boolean;
  #section: MemorySection | undefined;
  #cursor: LedgerCursor;
  /** Whether this walk may map; the one before only unmaps. */
  #mapping = false;
  #missing = false;

  constructor(sink: ReconcileSink, source: ReconcileSource, options: ReconcileOptions, anew: boolean) {
    this.#sink = sink;
    this.#source = source;
    this.#options = options;
    this.report = new WalkReport(options.budget);
    this.#view = source.target.view;
    this.#cursor = sink.ledger.cursor(0);
    this.#trusting = !anew && options.granule === 1;
    this.#runs =
      options.granule > 1 ? new GranuleRuns(options.granule, (leaf) => this.#leaf(leaf)) : undefined;
  }

  /**
   * The first half: unmaps what has to go. Returns what is still to be mapped, the range widened, or undefined when
   * nothing is. Everything goes before anything comes: a domain switch must not need room for both domains in a sink
   * that is nearly full. So what changed costs a second walk, what did not change does not.
   */
  retract(range: PageRange): PageRange | undefined {
    const wide = this.#widen(range);
    this.#cursor = this.#sink.ledger.cursor(wide.start);
    if (!this.#cursor.valid || this.#cursor.iova >= wide.end) return wide;
    this.#sweep(wide);
    return this.#missing || this.#sink.interrupted ? wide : undefined;
  }

  /** The second half, over what `retract` returned: maps what is missing. What must still go for that goes, too. */
  complete(range: PageRange): void {
    this.#mapping = true;
    this.#cursor = this.#sink.ledger.cursor(range.start);
    this.#sweep(range);
  }

  #sweep(range: PageRange): void {
    const { index } = this.#sink;
    const report = new WalkReport(this.#options.budget);
    this.report = report;
    this.#source.walk(range, index, (batch) => this.#batch(batch), report, this.#options.granule);
    this.#runs?.flush();
    if (this.#sink.interrupted || this.incomplete !== undefined) return;
    if (report.cutAt !== undefined) {
      this.incomplete = { kind: 'walk-cut', report };
      return;
    }
    while (this.#cursor.valid && this.#cursor.iova < range.end && !this.#sink.interrupted) this.#unmapHere();
  }

  #batch(batch: LeafBatch): boolean {
    if (this.#sink.interrupted) return false;
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
      if (this.incomplete !== undefined || this.#sink.interrupted) return false;
    }
    return true;
  }

  /** What of a leaf the sink wants to hear of. */
  #crop(iova: number, pages: number, target: number, access: Access): Mapping | undefined {
    if (!this.#wants(access)) return undefined;
    const { start, end } = this.#sink.range;
    const from = Math.max(iova, start);
    const to = Math.min(iova + pages, end);
    if (from < to && to - from < pages) this.#sink.cropped({ start: iova, end: iova + pages });
    return from < to ? { iova: from, pages: to - from, target: target + (from - iova), access } : undefined;
  }

  #wants(access: Access): boolean {
    return this.#options.isWrite ? (access & Access.Write) !== 0 : access !== Access.None;
  }

  /** Splits a leaf where its target stops being one section of RAM, and places the pieces. */
  #leaf(leaf: Mapping): void {
    const last = leaf.target + leaf.pages;
    let target = leaf.target;
    while (target < last && this.incomplete === undefined && !this.#sink.interrupted) {
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
      if (this.#sink.interrupted) return;
    }
    if (!this.#mapping) {
      this.#missing = true;
      return;
    }
    if (!this.#sink.tellMap(piece, (marks & NOT_RAM) === 0)) {
      this.incomplete = { kind: 'refused', mapping: { ...piece } };
      return;
    }
    // Whoever unregisters inside notify() has not taken the mapping; one that is told of anything else has.
    if (this.#sink.closed) return;
    cursor.insert(piece.iova, piece.pages, piece.target, flags);
    this.mapped++;
  }

  /** The ledger first: what notify() does must find the mapping gone. */
  #unmapHere(): void {
    const mapping = this.#cursor.mapping;
    this.#cursor.remove();
    this.#sink.tellUnmap(mapping);
  }

  /**
   * Leaves and ledger mappings that reach over an edge are taken in whole, as are granules. Sizes nest, so this ends
   * after a few rounds; each looks at one page of the tables.
   */
  #widen(range: PageRange): PageRange {
    const limits = this.#sink.range;
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

  /** The granules that the ledger's mapping and the tables' leaf at `page` touch together, within the sink's range. */
  #edgeOf(page: number): PageRange {
    let start = page;
    let end = page + 1;
    const held = this.#sink.ledger.find(page);
    if (held !== undefined) ({ start, end } = this.#wholeLeaf(held));
    const probe = new WalkReport(this.#options.budget);
    const visit = (batch: LeafBatch): boolean => {
      start = Math.min(start, batch.iova[0]!);
      end = Math.max(end, batch.iova[batch.length - 1]! + batch.pages);
      return true;
    };
    this.#source.walk({ start: page, end: page + 1 }, this.#sink.index, visit, probe, this.#options.granule);
    const { granule } = this.#options;
    const limits = this.#sink.range;
    return {
      start: Math.max(limits.start, Math.floor(start / granule) * granule),
      end: Math.min(limits.end, Math.ceil(end / granule) * granule),
    };
  }

  /** What the leaf of which `piece` stands in the ledger covered: with one of its pages, all of them have changed. */
  #wholeLeaf(piece: LedgerMapping): PageRange {
    const { ledger } = this.#sink;
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
