import {
  describeIncomplete,
  type Incomplete,
  type IommuEvent,
  type IommuNotifier,
  type IommuRegion,
  type LedgerMapping,
  leadsToRam,
  type Mapping,
  ReplayError,
  type ReplayReport,
} from '../iommu/index.ts';
import {
  Access,
  ALL_PAGES,
  type FlatView,
  type MemorySection,
  PAGE_SIZE,
  type PageRange,
  PAGES_END,
  type RamBlock,
  RamRegion,
} from '../memory/index.ts';
import type { Refusal } from './refusal.ts';
import type { MapperContext, SectionMapper } from './section-mapper.ts';

/** A section of RAM, and its block. */
type RamAt = { readonly section: MemorySection; readonly block: RamBlock };

/** What helps when a guest could not be followed. */
const REMEDIES: Readonly<Record<Incomplete['kind'], string>> = {
  refused: 'have the guest map less, or larger pages',
  'walk-cut': 'have the guest map less, or larger pages',
  'sink-failed': 'mend what failed and release the device, or unplug it',
  unsupported: 'release the device when the guest has changed that, or unplug it',
};

/** A section that a guest's IOMMU translates: what is mapped there is replayed, and followed from then on. */
export class IommuSection implements SectionMapper, IommuNotifier {
  readonly events = 'map-and-unmap';
  readonly range: PageRange;
  /** A PCI function's requests without a PASID. */
  readonly index = 0;
  readonly #context: MapperContext;
  readonly #region: IommuRegion;
  /** Page of the address space at which page 0 of the region lies. */
  readonly #shift: number;
  #active = false;
  #replay: ReplayReport | undefined;
  /** Why notify() last returned false. */
  #refusal: Refusal | undefined;
  /** Where the last target was found; most lie in one section of RAM. */
  #view: FlatView | undefined;
  #found: RamAt | undefined;

  /** `region` is the section's. */
  constructor(context: MapperContext, section: MemorySection, region: IommuRegion) {
    this.#context = context;
    this.#region = region;
    this.#shift = section.start - section.offset;
    this.range = { start: section.offset, end: section.offset + (section.end - section.start) };
  }

  /** What the last activation told, and what its walk met. */
  get replay(): ReplayReport | undefined {
    return this.#replay;
  }

  /** Page of the address space at which page 0 of the region lies. */
  get shift(): number {
    return this.#shift;
  }

  activate(): Refusal | undefined {
    this.#refusal = undefined;
    const granularity = BigInt(this.#context.guard.granule) * BigInt(PAGE_SIZE);
    try {
      this.#replay = this.#region.registerNotifierReplay(this, granularity, false);
      this.#active = true;
      return undefined;
    } catch (error) {
      if (error instanceof ReplayError) return this.#explain(error.why);
      return this.#unserved(error);
    }
  }

  deactivate(): void {
    if (!this.#active) return;
    this.#active = false;
    this.#region.unregisterNotifier(this);
  }

  forget(iova: number, pages: number): boolean {
    return this.#region.forget(this, iova - this.#shift, pages);
  }

  renew(range: PageRange | undefined): Refusal | undefined {
    if (!this.#active) return this.activate();
    const { start, end } = range ?? ALL_PAGES;
    this.#region.reconcile(this, {
      start: Math.max(0, start - this.#shift),
      end: Math.min(PAGES_END, end - this.#shift),
    });
    return undefined;
  }

  *mappings(): Iterable<Mapping> {
    for (const entry of this.#region.ledgerOf(this)?.mappings() ?? []) {
      const mapping = this.#mappingOf(entry);
      if (mapping !== undefined) yield mapping;
    }
  }

  find(page: number): Mapping | undefined {
    const entry = this.#region.ledgerOf(this)?.find(page - this.#shift);
    return entry === undefined ? undefined : this.#mappingOf(entry);
  }

  notify(event: IommuEvent): boolean {
    const { pages, target, access } = event;
    const iova = event.iova + this.#shift;
    const { queue, guard, reporter } = this.#context;
    if (event.op === 'unmap') {
      if (event.ram) queue.unmap(iova, pages);
      return true;
    }
    const mapping = { iova, pages, target, access };
    if (!event.ram) {
      reporter.notRam(mapping);
      return true;
    }
    const ram = this.#ramAt(target);
    if (ram === undefined) return false;
    const page = target - ram.section.start + ram.section.offset;
    this.#refusal = guard.check(mapping, page, queue.held);
    if (this.#refusal !== undefined) return false;
    queue.map(mapping, { block: ram.block, page });
    return true;
  }

  barrier(): void | Promise<void> {
    return this.#context.barrier();
  }

  incomplete(why: Incomplete): void {
    this.#context.failed(this.#explain(why), this);
  }

  /** The ledger also holds what leads to no RAM, of which the host was not told. */
  #mappingOf(entry: LedgerMapping): Mapping | undefined {
    if (!leadsToRam(entry)) return undefined;
    const { iova, pages, target, flags } = entry;
    return { iova: iova + this.#shift, pages, target, access: (flags & Access.ReadWrite) as Access };
  }

  #ramAt(target: number): RamAt | undefined {
    const { view } = this.#region.target;
    const found = this.#found;
    if (
      found !== undefined &&
      view === this.#view &&
      target >= found.section.start &&
      target < found.section.end
    ) {
      return found;
    }
    const section = view.find(target);
    const region = section?.region;
    this.#view = view;
    this.#found =
      section !== undefined && region instanceof RamRegion ? { section, block: region.block } : undefined;
    return this.#found;
  }

  #explain(why: Incomplete): Refusal {
    const refusal = this.#refusal;
    this.#refusal = undefined;
    if (refusal !== undefined) return refusal;
    return {
      cause: 'iommu-refused',
      mapping: undefined,
      reason: `${this.#region.name} could not be followed, for ${describeIncomplete(why)}`,
      remedy: REMEDIES[why.kind],
      ...(why.kind === 'sink-failed' ? { error: why.error } : {}),
    };
  }

  #unserved(error: unknown): Refusal {
    return {
      cause: 'iommu-refused',
      mapping: undefined,
      reason: error instanceof Error ? error.message : String(error),
      remedy: `give the guest an IOMMU that can tell ${this.#region.name} of its mappings, or leave it untranslated`,
      error,
    };
  }
}
