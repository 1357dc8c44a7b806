import { ALL_PAGES, type PageRange } from '../memory/index.ts';
import type { RequesterId } from './requester-id.ts';

/** A device-TLB invalidation: of one translation index, or of all. */
export interface DeviceTlbInvalidation {
  readonly requester: RequesterId;
  readonly index: number | undefined;
  readonly range: PageRange;
}

/** Separate ranges of one domain that are still followed one by one; more are taken as the one range that holds them all. */
const RANGES_APART = 64;

/** Ranges that were asked for, in any order; `merged` is made when it is first needed. */
class Ranges {
  #asked: PageRange[] = [];
  #merged: readonly PageRange[] | undefined;

  add(range: PageRange): void {
    this.#asked.push(range);
    this.#merged = undefined;
  }

  get merged(): readonly PageRange[] {
    this.#merged ??= merge(this.#asked);
    return this.#merged;
  }
}

/**
 * What a run of invalidation commands covers together. An IOMMU may invalidate more, and earlier, than it was asked to
 * (VT-d 6.5, AMD-Vi 2.2.2); so commands between which the guest cannot look are gathered and done as one: thousands of
 * them in a queue then cost one walk of the tables and not thousands.
 *
 * *Structures* say how a requester is translated (root, context and PASID entries; device table entries); *contents* are
 * the paging entries that they lead to.
 */
export class InvalidationBatch {
  /** Every structure of every requester. */
  everyStructure = false;
  /** Every structure of these requesters. */
  readonly sources: Set<RequesterId> = new Set();
  /** Every structure that names these domains. */
  readonly structureDomains: Set<number> = new Set();
  /** The contents of every domain. */
  everything = false;
  /** The contents of these domains. */
  readonly domains: Set<number> = new Set();
  readonly deviceTlbs: DeviceTlbInvalidation[] = [];
  readonly #pages: Map<number, Ranges> = new Map();
  /** By domain, then by PASID. */
  readonly #pasids: Map<number, Map<number, Ranges>> = new Map();
  /** By domain, of all its PASIDs together. */
  readonly #anyPasid: Map<number, Ranges> = new Map();

  /** Whether it covers any structure. */
  get coversStructures(): boolean {
    return this.everyStructure || this.sources.size > 0 || this.structureDomains.size > 0;
  }

  /** Whether it covers any contents. */
  get coversContents(): boolean {
    return this.everything || this.domains.size > 0 || this.#pages.size > 0 || this.#pasids.size > 0;
  }

  /** Pages of the tables of `domain` that requests without PASID go through; in a nested translation, of the second stage. */
  addPages(domain: number, range: PageRange): void {
    entry(this.#pages, domain).add(range);
  }

  /** Pages that `pasid` reaches within `domain`. */
  addPasid(domain: number, pasid: number, range: PageRange): void {
    let pasids = this.#pasids.get(domain);
    if (pasids === undefined) this.#pasids.set(domain, (pasids = new Map()));
    entry(pasids, pasid).add(range);
    entry(this.#anyPasid, domain).add(range);
  }

  /** Whether {@link addPages} named `domain`. */
  coversPages(domain: number): boolean {
    return this.#pages.has(domain);
  }

  /**
   * The pages of translation index `index` that are covered when it belongs to `domain`. Requests without PASID, index 0,
   * may be translated as those of some PASID (VT-d's RID_PASID), so that an invalidation of any of its domain may mean it.
   */
  pagesOf(domain: number, index: number): readonly PageRange[] {
    if (this.everything || this.domains.has(domain)) return EVERY_PAGE;
    const second = this.#pages.get(domain)?.merged ?? NO_PAGES;
    const first = (index === 0 ? this.#anyPasid.get(domain) : this.#pasids.get(domain)?.get(index))?.merged;
    if (first === undefined) return second;
    return second.length === 0 ? first : merge([...second, ...first]);
  }
}

const EVERY_PAGE: readonly PageRange[] = [ALL_PAGES];
const NO_PAGES: readonly PageRange[] = [];

function entry(map: Map<number, Ranges>, key: number): Ranges {
  let ranges = map.get(key);
  if (ranges === undefined) map.set(key, (ranges = new Ranges()));
  return ranges;
}

function merge(ranges: readonly PageRange[]): readonly PageRange[] {
  if (ranges.length <= 1) return [...ranges];
  const sorted = [...ranges].sort((a, b) => a.start - b.start);
  const merged: { start: number; end: number }[] = [];
  for (const { start, end } of sorted) {
    const last = merged.at(-1);
    if (last !== undefined && start <= last.end) last.end = Math.max(last.end, end);
    else merged.push({ start, end });
  }
  const [first, last] = [merged[0], merged.at(-1)];
  if (merged.length <= RANGES_APART || first === undefined || last === undefined) return merged;
  return [{ start: first.start, end: last.end }];
}
