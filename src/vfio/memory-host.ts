import { Ledger, type LedgerMapping, type Mapping } from '../iommu/index.ts';
import { type Access, addressOf, ALL_PAGES, PAGE_SIZE, type PageRange, pageOf } from '../memory/index.ts';
import {
  HostRefusedError,
  type HostIommu,
  type HostIommuLimits,
  type HostRefusal,
  type RamSlice,
} from './host-iommu.ts';
import { RamPlaces } from './ram-places.ts';
import {
  HOST_RULES,
  type HostBook,
  type HostRules,
  type HostStrictness,
  type HostVerdict,
} from './strictness.ts';

/** 4 KiB, 2 MiB and 1 GiB, as most hosts have them. */
const DEFAULT_PAGE_SIZES = 0x4020_1000n;

/** What a host in memory is like; everything but the strictness has a default. */
export interface MemoryHostOptions {
  readonly strictness: HostStrictness;
  /** Name for people; the strictness when left out. */
  readonly name?: string;
  /** Page sizes in bytes as a bit mask, 4 KiB at the least; 4 KiB, 2 MiB and 1 GiB when left out. */
  readonly pageSizes?: bigint;
  /** Page ranges in which mappings may lie, ascending; every page when left out. */
  readonly apertures?: readonly PageRange[];
  /** Mappings at once; when left out 65,535 for type1 and vfio-user, and no limit for iommufd. */
  readonly maxMappings?: number;
}

/** A mapping that a host holds, and the memory behind it. */
export interface HostMapping extends Mapping {
  readonly ram: RamSlice;
}

/** Where one address of a device leads. */
export interface HostTranslation {
  /** Guest-physical byte address. */
  readonly gpa: bigint;
  readonly access: Access;
  /** The page of RAM; the byte within it is that of the address. */
  readonly ram: RamSlice;
}

/** Operations that a host was asked for. */
export interface HostMessages {
  readonly map: number;
  readonly unmap: number;
  readonly barrier: number;
}

/**
 * A host IOMMU that exists only as a ledger, and refuses what the one whose strictness it has would refuse. Operations
 * take effect at once; refusals are kept for the barrier, which answers at once too.
 */
export class MemoryHostIommu implements HostIommu {
  readonly name: string;
  readonly strictness: HostStrictness;
  readonly limits: HostIommuLimits;
  readonly #rules: HostRules;
  readonly #ledger: Ledger = new Ledger();
  readonly #places: RamPlaces = new RamPlaces();
  readonly #book: HostBook;
  readonly #messages: { -readonly [K in keyof HostMessages]: number } = { map: 0, unmap: 0, barrier: 0 };
  #refusals: HostRefusal[] = [];

  /** RangeError when `pageSizes` has a page below 4 KiB or none. */
  constructor(options: MemoryHostOptions) {
    const pageSizes = options.pageSizes ?? DEFAULT_PAGE_SIZES;
    const smallest = pageSizes & -pageSizes;
    if (smallest < BigInt(PAGE_SIZE)) {
      throw new RangeError(
        `page sizes 0x${pageSizes.toString(16)}: set bits of 4 KiB (bit 12) and above only`,
      );
    }
    this.strictness = options.strictness;
    this.name = options.name ?? options.strictness;
    this.#rules = HOST_RULES[options.strictness];
    this.limits = {
      pageSizes,
      apertures: options.apertures ?? [ALL_PAGES],
      maxMappings: options.maxMappings ?? this.#rules.maxMappings,
      unmap: this.#rules.unmap,
      atomicReplace: false,
    };
    this.#book = {
      ledger: this.#ledger,
      limits: this.limits,
      granule: Number(smallest >> 12n),
      holds: (mapping, ram) => this.#holds(mapping, ram),
    };
  }

  /** Mappings held. */
  get size(): number {
    return this.#ledger.size;
  }

  /** Operations asked for so far, the refused ones included. */
  get messages(): HostMessages {
    return { ...this.#messages };
  }

  map(mapping: Mapping, ram: RamSlice): void {
    this.#messages.map++;
    const verdict = this.#rules.judgeMap(this.#book, mapping, ram);
    if (verdict === 'accepted') {
      const { iova, pages, target, access } = mapping;
      this.#ledger.insert(iova, pages, this.#places.number(target, ram), access);
    } else if (verdict !== 'held-already') {
      this.#refuse('map', mapping.iova, mapping.pages, verdict);
    }
  }

  unmap(iova: number, pages: number): void {
    this.#messages.unmap++;
    const verdict = this.#rules.unmapFrom(this.#book, iova, pages);
    if (verdict !== undefined) this.#refuse('unmap', iova, pages, verdict);
    if (this.#ledger.size === 0) this.#places.clear();
  }

  barrier(): void {
    this.#messages.barrier++;
    if (this.#refusals.length === 0) return;
    const refusals = this.#refusals;
    this.#refusals = [];
    throw new HostRefusedError(refusals);
  }

  /** The mapping that covers `page`. */
  find(page: number): HostMapping | undefined {
    const entry = this.#ledger.find(page);
    return entry === undefined ? undefined : this.#mappingOf(entry);
  }

  /** Everything held, ascending. The host must not change meanwhile. */
  *mappings(): Iterable<HostMapping> {
    for (const entry of this.#ledger.mappings()) yield this.#mappingOf(entry);
  }

  /** Where a device's access to the byte address `iova` ends; undefined when nothing is mapped there. */
  translate(iova: bigint): HostTranslation | undefined {
    const page = pageOf(iova);
    const mapping = this.find(page);
    if (mapping === undefined) return undefined;
    const within = page - mapping.iova;
    const { block, page: first } = mapping.ram;
    return {
      gpa: addressOf(mapping.target + within) + (iova & BigInt(PAGE_SIZE - 1)),
      access: mapping.access,
      ram: { block, page: first + within },
    };
  }

  #mappingOf({ iova, pages, target, flags }: LedgerMapping): HostMapping {
    const place = this.#places.place(target);
    return { iova, pages, target: place.target, access: flags as Access, ram: place.ram };
  }

  #holds(mapping: Mapping, { block, page }: RamSlice): boolean {
    const held = this.find(mapping.iova);
    return (
      held !== undefined &&
      held.iova === mapping.iova &&
      held.pages === mapping.pages &&
      held.access === mapping.access &&
      held.ram.block === block &&
      held.ram.page === page
    );
  }

  #refuse(op: HostRefusal['op'], iova: number, pages: number, { errno, reason }: HostVerdict): void {
    this.#refusals.push({ op, iova, pages, errno, reason });
  }
}
