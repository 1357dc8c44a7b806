/** Recorded events played through a guest's driver: tables, queue and registers, not around them. @module */
import { Access, type PageRange } from '../../memory/index.ts';
import type { CaptureEvent, CaptureMapping } from '../capture-lines.ts';
import { GuestDomain } from './domain.ts';
import { GuestDriverError } from './error.ts';
import type { DomainOrRequester, GuestDriver } from './guest-driver.ts';
import { type Completion, inOrder } from './steps.ts';
import type { TableLeaf } from './table-entry.ts';
import type { GuestTables } from './tables.ts';

/** What an event says; `CaptureEvent` is one. */
export type PlayableEvent = Omit<CaptureEvent, 't'>;

/** How events are played. */
export interface GuestEventPlayerOptions {
  /**
   * Page, not RAM, from which on a map without target is mapped: what was recorded led to a device's memory. Such an
   * event is refused when this is left out.
   */
  readonly deviceTarget?: number;
}

/**
 * Plays what a VMM told a sink as what its guest must have done. Leaves get exactly the size that events name. What is
 * mapped where a map event says otherwise is removed first; a leaf that an unmap cuts is removed, and mapped again
 * where it lies outside.
 */
export class GuestEventPlayer {
  readonly #driver: GuestDriver;
  readonly #domain: GuestDomain;
  readonly #tables: GuestTables;
  readonly #deviceTarget: number | undefined;

  /** Events of `where`, whose domain must have tables: GuestDriverError `attachment` otherwise. */
  constructor(driver: GuestDriver, where: DomainOrRequester, options: GuestEventPlayerOptions = {}) {
    const domain = where instanceof GuestDomain ? where : driver.domainOf(where);
    if (domain?.tables === undefined) {
      throw new GuestDriverError(
        'attachment',
        'events need a domain with tables: attach the requester to one first',
      );
    }
    this.#driver = driver;
    this.#domain = domain;
    this.#tables = domain.tables;
    this.#deviceTarget = options.deviceTarget;
  }

  /** Plays one event. See {@link GuestDriver} for when it is complete; the next one may be played only then. */
  play(event: PlayableEvent): Completion {
    const range = { start: event.iova, end: event.iova + event.pages };
    if (event.op === 'unmap') return this.#unmap(range);
    const target = this.#target(event);
    if (!this.#occupied(range)) return this.#map(event, target);
    const there = this.#tables.leafAt(event.iova);
    if (there !== undefined && isLeaf(there, event, target)) return;
    return inOrder(
      () => this.#unmap(range),
      () => this.#map(event, target),
    );
  }

  #map({ iova, pages, access }: PlayableEvent, target: number): Completion {
    const aligned = iova % pages === 0 && target % pages === 0;
    const leafPages = aligned && this.#driver.offersLeaf(pages) ? { leafPages: pages } : {};
    return this.#driver.map(this.#domain, iova, pages, target, access, leafPages);
  }

  /** An event may name the whole address space; the tables end earlier, and so does what can be mapped. */
  #unmap(range: PageRange): Completion {
    const start = range.start;
    const end = Math.min(range.end, this.#domain.end);
    if (start >= end) return;
    const first = this.#tables.leafAt(start);
    const last = this.#tables.leafAt(end - 1);
    const from = Math.min(start, first?.iova ?? start);
    const to = Math.max(end, last === undefined ? end : last.iova + last.pages);
    return inOrder(
      () => this.#driver.unmap(this.#domain, from, to - from),
      () =>
        first !== undefined && from < start ? this.#restore(first, { start: from, end: start }) : undefined,
      () => (last !== undefined && to > end ? this.#restore(last, { start: end, end: to }) : undefined),
    );
  }

  /** Maps `range`, a part of `leaf`, as it was. */
  #restore(leaf: TableLeaf, range: PageRange): Completion {
    const target = leaf.target + (range.start - leaf.iova);
    return this.#driver.map(this.#domain, range.start, range.end - range.start, target, leaf.access);
  }

  #occupied(range: PageRange): boolean {
    let found = false;
    this.#tables.visit(range, () => {
      found = true;
      return false;
    });
    return found;
  }

  #target({ iova, pages, target }: PlayableEvent): number {
    if (target !== undefined) return target;
    if (this.#deviceTarget !== undefined) return Math.ceil(this.#deviceTarget / pages) * pages;
    throw new GuestDriverError(
      'bad-argument',
      `the event at page ${iova} maps something that is not RAM; say by deviceTarget where that shall be`,
    );
  }
}

/**
 * Events as the guest's own tables would tell them. A sink hears less: QEMU tells it of a write-only leaf as one for
 * reading too, and of a device's memory without its address. For mappings that are still there when the events are
 * over, `final` (what the tables hold then) knows; all other events stay as they are.
 *
 * @param final ascending, as `Capture.finalMappings` gives it
 */
export function eventsAsInTables(
  events: readonly CaptureEvent[],
  final: readonly CaptureMapping[],
): readonly CaptureEvent[] {
  const wanted = new Map(final.map((mapping) => [mapping.iova, mapping]));
  const restored = [...events];
  for (let i = events.length - 1; i >= 0 && wanted.size > 0; i--) {
    const event = events[i] as CaptureEvent;
    const mapping = event.op === 'map' ? wanted.get(event.iova) : undefined;
    if (mapping === undefined) continue;
    wanted.delete(event.iova);
    const agrees = event.pages === mapping.pages && (event.target ?? mapping.target) === mapping.target;
    if (!agrees) continue;
    const writeOnly = event.access === Access.ReadWrite && mapping.access === Access.Write;
    restored[i] = { ...event, target: mapping.target, access: writeOnly ? Access.Write : event.access };
  }
  return restored;
}

/**
 * Pages that mappings or events lead to, as a page allocator must know them to be used: a guest's tables lie elsewhere.
 * One-to-one mappings are left out: a requester that passes through is told as all of RAM, and tables lie there.
 */
export function targetsOf(
  mappings: Iterable<{
    readonly iova: number;
    readonly target: number | undefined;
    readonly pages: number;
  }>,
): PageRange[] {
  const ranges: PageRange[] = [];
  for (const { iova, target, pages } of mappings) {
    if (target !== undefined && target !== iova) ranges.push({ start: target, end: target + pages });
  }
  return ranges;
}

function isLeaf(leaf: TableLeaf, event: PlayableEvent, target: number): boolean {
  return (
    leaf.iova === event.iova &&
    leaf.pages === event.pages &&
    leaf.target === target &&
    leaf.access === event.access
  );
}
