/** Domains of a guest's driver and the identifiers they go by. @module */
import { spec } from '../../models/vtd/index.ts';
import { VtdDriverError } from './error.ts';
import type { DriverPages } from './pages.ts';
import { SecondStageTables } from './tables.ts';

/** Identifier that Linux gives the pass-through domain. 0 stands for entries that were not present (VT-d 6.1). */
export const PASS_THROUGH_DOMAIN = 1;

/** An identifier and the tables that all requesters attached to it share. The driver makes them. */
export class VtdDomain {
  /** Domain identifier (DID) under which the unit caches its translations. */
  readonly id: number;
  /** undefined for the pass-through domain. */
  readonly tables: SecondStageTables | undefined;
  /** Exclusive end of the pages that it can map; 0 for pass-through. */
  readonly end: number;
  /** Tables taken out since the last flush; the driver's, and only in lazy mode. */
  readonly deferred: Set<number> = new Set();
  /** Something was unmapped since the last flush; likewise. */
  stale = false;

  constructor(id: number, tables: SecondStageTables | undefined, end: number) {
    this.id = id;
    this.tables = tables;
    this.end = end;
  }

  /** Levels of the tables, 3 to 5; 0 for pass-through. */
  get levels(): number {
    return this.tables?.levels ?? 0;
  }
}

/** The domains that a driver knows, by identifier. */
export class DriverDomains {
  readonly #pages: DriverPages;
  readonly #capability: spec.Capability;
  readonly #known: Map<number, VtdDomain> = new Map();
  readonly #foreign: ReadonlySet<number>;

  /** `foreign` are identifiers that a captured guest uses: never given to new domains. */
  constructor(pages: DriverPages, capability: spec.Capability, foreign: ReadonlySet<number>) {
    this.#pages = pages;
    this.#capability = capability;
    this.#foreign = foreign;
  }

  /** Every domain known. */
  get all(): readonly VtdDomain[] {
    return [...this.#known.values()];
  }

  /** A new domain with empty tables: see `VtdGuestDriver.createDomain`. */
  create(levels: 3 | 4 | 5): VtdDomain {
    if (spec.levelsOf(levels - 2, this.#capability.SAGAW) !== levels) {
      throw new VtdDriverError(
        'bad-argument',
        `CAP_REG.SAGAW does not offer tables of ${levels} levels; use others`,
      );
    }
    const limit = 2 ** (4 + 2 * this.#capability.ND);
    let id = PASS_THROUGH_DOMAIN + 1;
    while (this.#known.has(id) || this.#foreign.has(id)) id++;
    if (id >= limit) {
      throw new VtdDriverError(
        'no-domain-id',
        `all ${limit} domain identifiers of the unit are taken; free a domain`,
      );
    }
    return this.at(id, { root: this.#pages.allocate(), levels });
  }

  /** The domain with identifier `id` and these tables; the same object as long as they stay the same. */
  at(id: number, tables: { readonly root: number; readonly levels: number } | undefined): VtdDomain {
    const known = this.#known.get(id);
    if (
      known !== undefined &&
      known.tables?.root === tables?.root &&
      known.levels === (tables?.levels ?? 0)
    ) {
      return known;
    }
    const domain = tables === undefined ? new VtdDomain(id, undefined, 0) : this.#translating(id, tables);
    this.#known.set(id, domain);
    return domain;
  }

  /** Forgets a domain. A foreign identifier stays taken. */
  remove(domain: VtdDomain): void {
    this.#known.delete(domain.id);
  }

  #translating(id: number, { root, levels }: { readonly root: number; readonly levels: number }): VtdDomain {
    const width = Math.min(spec.adjustedWidth(levels), this.#capability.MGAW);
    return new VtdDomain(id, new SecondStageTables(this.#pages, root, levels), 2 ** (width - 12));
  }
}
