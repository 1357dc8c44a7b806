/** Domains of a guest's driver and the identifiers they go by. @module */
import { GuestDriverError } from './error.ts';
import type { DriverPages } from './pages.ts';
import type { GuestTableFormat } from './table-format.ts';
import { GuestTables } from './tables.ts';

/** An identifier and the tables that all requesters attached to it share. The driver makes them. */
export class GuestDomain {
  /** Domain identifier under which the unit caches its translations. */
  readonly id: number;
  /** undefined for a domain that passes through. */
  readonly tables: GuestTables | undefined;
  /** Exclusive end of the pages that it can map; 0 for pass-through. */
  readonly end: number;
  /** Tables taken out since the last flush; the driver's, and only in lazy mode. */
  readonly deferred: Set<number> = new Set();
  /** Something was unmapped since the last flush; likewise. */
  stale = false;

  constructor(id: number, tables: GuestTables | undefined, end: number) {
    this.id = id;
    this.tables = tables;
    this.end = end;
  }

  /** Levels of the tables; 0 for pass-through. */
  get levels(): number {
    return this.tables?.levels ?? 0;
  }
}

/** Where a domain's tables are. */
export interface TablesPlace {
  /** Page of the top table. */
  readonly root: number;
  readonly levels: number;
}

/** What domains of a unit have in common. */
export interface DomainRules {
  readonly format: GuestTableFormat;
  /** The first identifier that new domains get. */
  readonly firstId: number;
  /** Identifiers that the unit has, those before `firstId` included. */
  readonly ids: number;
  /** Exclusive end of the pages that tables of so many levels can map. */
  end(levels: number): number;
}

/** The domains that a driver knows, by identifier. */
export class DriverDomains {
  readonly #pages: DriverPages;
  readonly #rules: DomainRules;
  readonly #known: Map<number, GuestDomain> = new Map();
  readonly #foreign: ReadonlySet<number>;

  /** `foreign` are identifiers that a captured guest uses: never given to new domains. */
  constructor(pages: DriverPages, rules: DomainRules, foreign: ReadonlySet<number>) {
    this.#pages = pages;
    this.#rules = rules;
    this.#foreign = foreign;
  }

  /** Every domain known. */
  get all(): readonly GuestDomain[] {
    return [...this.#known.values()];
  }

  /** A new domain with empty tables of `levels` levels. GuestDriverError `no-domain-id`. */
  create(levels: number): GuestDomain {
    const { firstId, ids } = this.#rules;
    let id = firstId;
    while (this.#known.has(id) || this.#foreign.has(id)) id++;
    if (id >= ids) {
      throw new GuestDriverError(
        'no-domain-id',
        `all ${ids} domain identifiers of the unit are taken; free a domain`,
      );
    }
    return this.at(id, { root: this.#pages.allocate(), levels });
  }

  /** The domain with identifier `id` and these tables; the same object as long as they stay the same. */
  at(id: number, tables: TablesPlace | undefined): GuestDomain {
    const known = this.#known.get(id);
    if (
      known !== undefined &&
      known.tables?.root === tables?.root &&
      known.levels === (tables?.levels ?? 0)
    ) {
      return known;
    }
    const domain = tables === undefined ? new GuestDomain(id, undefined, 0) : this.#translating(id, tables);
    this.#known.set(id, domain);
    return domain;
  }

  /** Forgets a domain. A foreign identifier stays taken. */
  remove(domain: GuestDomain): void {
    this.#known.delete(domain.id);
  }

  #translating(id: number, { root, levels }: TablesPlace): GuestDomain {
    const tables = new GuestTables(this.#pages, this.#rules.format, root, levels);
    return new GuestDomain(id, tables, this.#rules.end(levels));
  }
}
