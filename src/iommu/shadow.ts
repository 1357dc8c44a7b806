import { Access, hull, intersect, overlaps, type PageRange } from '../memory/index.ts';
import { Ledger, type LedgerCursor, type LedgerMapping } from './ledger.ts';
import type { Mapping } from './leaf-batch.ts';
import { leadsToRam } from './ledger-flags.ts';
import type { Incomplete, IommuEvent, IommuNotifier, ReplayReport } from './notifier.ts';
import {
  type ReconcileOptions,
  ReconcilePass,
  type ReconcileSink,
  type ReconcileSource,
} from './reconcile.ts';
import { WalkReport } from './walk-report.ts';

/** What a reconcile did, and why it stopped early if it did. */
export interface ReconcileOutcome {
  readonly report: ReplayReport;
  readonly incomplete: Incomplete | undefined;
}

/** What the first half of a reconcile did. */
export interface Retraction {
  /** What the second half has to look at; undefined when nothing is to be mapped. */
  readonly rest: PageRange | undefined;
  readonly incomplete: Incomplete | undefined;
  readonly walk: WalkReport;
}

/** A map-and-unmap notifier with its ledger. */
export class Shadow implements ReconcileSink {
  readonly notifier: IommuNotifier;
  /** The notifier's range, as far as the region reaches. */
  readonly range: PageRange;
  readonly ledger: Ledger = new Ledger();
  readonly #source: ReconcileSource;
  readonly #options: ReconcileOptions;
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
  /** Leaves that reach over the edges of the range, one over each at the most. */
  #cropped: PageRange[] = [];
  /** Whether the ledger is being gone through: nothing else may change it. */
  #active = false;
  #closed = false;
  /** While closing: the first mapping of which the end has not been told. */
  #farewell: LedgerCursor | undefined;

  constructor(notifier: IommuNotifier, source: ReconcileSource, options: ReconcileOptions) {
    this.notifier = notifier;
    this.range = intersect(notifier.range, { start: 0, end: source.pages }) ?? { start: 0, end: 0 };
    this.#source = source;
    this.#options = options;
  }

  get index(): number {
    return this.notifier.index;
  }

  /** Whether {@link close} was called. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Whether a reconcile under way has lost its ground: closed, or the target's sections changed. */
  get interrupted(): boolean {
    return this.#closed || this.#anew;
  }

  /** Leaves of which the sink was told a part, for they reach over the edges of its range. */
  get overEdges(): readonly PageRange[] {
    return this.#cropped;
  }

  cropped(leaf: PageRange): void {
    const isSame = ({ start, end }: PageRange): boolean => start === leaf.start && end === leaf.end;
    if (this.#cropped.some(isSame)) return;
    // Where this one is, no other can be any more.
    this.#cropped = [...this.#cropped.filter((other) => !overlaps(other, leaf)), leaf];
  }

  /** Forgets the leaves over edges that lie in `range`: the walk of it that follows notes those that are still there. */
  forgetOverEdges({ start, end }: PageRange): void {
    if (this.#cropped.length === 0) return;
    this.#cropped = this.#cropped.filter((leaf) => leaf.start < start || leaf.end > end);
  }

  /**
   * Makes the sink equal to the tables in `range`, widened so that neither a mapping of the ledger nor a leaf is cut
   * by its edges. Returns why it stopped early, if it did; the ledger is exact in any case. Called from inside
   * notify() it takes place after the reconcile under way.
   */
  reconcile(range: PageRange): ReconcileOutcome {
    const half = this.retract(range);
    if (half.rest === undefined || half.incomplete !== undefined) return outcomeOf(half);
    return this.complete(half.rest);
  }

  /**
   * The first half of {@link reconcile}: unmaps what has to go, and says in `rest` what {@link complete} has still to
   * look at. With `anew`, also leaves that stand in the ledger already are held against the target's sections again.
   */
  retract(range: PageRange, anew = false): Retraction {
    const nothing = { rest: undefined, incomplete: undefined, walk: new WalkReport(this.#options.budget) };
    const clipped = intersect(range, this.range);
    if (clipped === undefined || this.#closed) return nothing;
    this.#anew ||= anew;
    if (this.#active) {
      this.#again = this.#again === undefined ? clipped : hull(this.#again, clipped);
      return nothing;
    }
    return this.#exclusively(() => {
      const pass = this.#newPass();
      this.#withdraw();
      const rest = pass.retract(clipped);
      return { rest: this.#withWhatCameUp(rest, clipped), incomplete: pass.incomplete, walk: pass.report };
    });
  }

  /** The second half: maps what `range`, from {@link retract}, lacks, and does what was asked for meanwhile. */
  complete(range: PageRange): ReconcileOutcome {
    let mappings = 0;
    let walk = new WalkReport(this.#options.budget);
    let incomplete: Incomplete | undefined;
    if (this.#active) this.#again = this.#again === undefined ? range : hull(this.#again, range);
    else if (!this.#closed) {
      this.#exclusively(() => {
        let retracted = !this.#anew;
        for (let next: PageRange | undefined = range; next !== undefined && !this.#closed; ) {
          const pass = this.#newPass();
          this.#withdraw();
          const rest: PageRange | undefined = retracted ? next : pass.retract(next);
          if (rest !== undefined && pass.incomplete === undefined && !this.interrupted) pass.complete(rest);
          mappings += pass.mapped;
          walk = pass.report;
          incomplete = pass.incomplete;
          if (incomplete !== undefined) break;
          next = this.#withWhatCameUp(undefined, next);
          retracted = false;
        }
      });
    }
    return { report: { mappings, walk }, incomplete };
  }

  /** Takes back every mapping whose target lies in `gone`: the memory there is not what it was. */
  withdrawTargets(gone: readonly PageRange[]): void {
    this.#gone.push(...gone);
    if (!this.#active) this.#exclusively(() => this.#withdraw());
  }

  /**
   * Strikes a mapping that the sink was told and has not got, without telling it. False, and nothing struck, when there
   * is none exactly so, or while the ledger is being gone through.
   */
  forget(iova: number, pages: number): boolean {
    return !this.#active && !this.#closed && this.ledger.remove(iova, pages);
  }

  /**
   * Tells the sink that everything is gone, and nothing after that. A sink that throws is still told the rest; then
   * the first error is thrown. Called again from inside notify(), it tells the rest at once.
   */
  close(): void {
    this.#closed = true;
    this.#farewell ??= this.ledger.cursor(0);
    const cursor = this.#farewell;
    // Called from inside notify(), whose event must stay what it is.
    this.#event = { ...this.#event };
    const errors: unknown[] = [];
    while (cursor.valid) {
      const mapping = cursor.mapping;
      cursor.next();
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
    event.ram = leadsToRam(mapping);
    this.notifier.notify(event);
  }

  /** Goes through the ledger; calls from inside notify() have to wait until it is over. */
  #exclusively<T>(work: () => T): T {
    this.#active = true;
    try {
      return work();
    } finally {
      this.#active = false;
      this.#again = undefined;
    }
  }

  #newPass(): ReconcilePass {
    const pass = new ReconcilePass(this, this.#source, this.#options, this.#anew);
    this.#anew = false;
    return pass;
  }

  /** `rest`, and what calls from inside notify() asked for; all of `range` again when the target's sections changed. */
  #withWhatCameUp(rest: PageRange | undefined, range: PageRange): PageRange | undefined {
    const asked = [rest, this.#again, this.#anew ? range : undefined].filter((one) => one !== undefined);
    this.#again = undefined;
    return asked.length === 0 ? undefined : asked.reduce(hull);
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

function outcomeOf({ walk, incomplete }: Retraction): ReconcileOutcome {
  return { report: { mappings: 0, walk }, incomplete };
}
