/** What every requester of a guest may reach, and could reach until it was told otherwise. @module */
import type { Mapping, RequesterId } from '../../../src/iommu/index.ts';
import type { Access } from '../../../src/memory/index.ts';
import type { HostMapping } from '../../../src/vfio/index.ts';
import { aroundInterrupts, INTERRUPTS, type NaiveDomain, type NaiveLeaf, type Span } from './domain.ts';
import { accessOf, type NaiveMemoryMap, ramAt } from './memory-map.ts';
import { Settling } from './settling.ts';

/** What requests of a requester meet. */
export type NaiveView = 'nothing' | 'memory' | NaiveDomain;

/** What a host can hold. */
export interface NaiveHostLimits {
  /** Pages of its smallest page. */
  readonly granule: number;
  readonly maxMappings: number;
  readonly apertures: readonly Span[];
}

/** Why a host cannot hold something. */
export type Unfit = 'page-size' | 'aperture' | 'too-many-mappings';

/** The guest, its memory and its requesters. */
export class NaiveWorld {
  readonly #memory: Settling<NaiveMemoryMap>;
  readonly #translating: Settling<boolean> = new Settling<boolean>(true);
  readonly #attached: Map<RequesterId, Settling<NaiveView>> = new Map();

  constructor(memory: NaiveMemoryMap) {
    this.#memory = new Settling(memory);
  }

  get memory(): NaiveMemoryMap {
    return this.#memory.value;
  }

  get translating(): boolean {
    return this.#translating.value;
  }

  setMemory(map: NaiveMemoryMap, step: number): void {
    this.#memory.change(map, step);
  }

  setTranslating(on: boolean, step: number): void {
    this.#translating.change(on, step);
  }

  attached(requester: RequesterId): NaiveView {
    return this.#of(requester).value;
  }

  /** `silent`: the structures were rewritten, and the unit was not told. */
  attach(requester: RequesterId, view: NaiveView, step: number, silent = false): void {
    this.#of(requester).change(view, step, silent);
  }

  /** What the unit was told of up to `step` is in force alone; tables aside. */
  confirm(step: number): void {
    this.#memory.confirm(step);
    this.#translating.confirm(step);
    for (const settling of this.#attached.values()) settling.confirm(step);
  }

  /** The unit has looked up all structures anew. */
  confirmStructures(step: number): void {
    for (const settling of this.#attached.values()) settling.confirm(step, true);
  }

  /** Whether the unit may still take `requester` to be attached to something else. */
  unsure(requester: RequesterId): boolean {
    return this.#of(requester).all.length > 1;
  }

  /** What requests of `requester` meet now. */
  view(requester: RequesterId): NaiveView {
    return this.translating ? this.attached(requester) : 'memory';
  }

  /** Everything that a host of this kind holds for `requester` when it holds what the guest's tables say, ascending. */
  expected(requester: RequesterId, limits: NaiveHostLimits): Mapping[] {
    const view = this.view(requester);
    if (view === 'nothing') return [];
    return view === 'memory' ? this.#memoryFor(limits) : this.#tablesFor(view, limits);
  }

  /** Why such a host cannot hold that: for the first mapping that does not fit. */
  unfit(requester: RequesterId, limits: NaiveHostLimits): Unfit | undefined {
    for (const [count, { iova, pages, target }] of this.expected(requester, limits).entries()) {
      const ramPage = target - (ramAt(this.memory, target)?.start ?? 0);
      if ([iova, pages, ramPage].some((page) => page % limits.granule !== 0)) return 'page-size';
      if (!limits.apertures.some(({ start, end }) => start <= iova && iova + pages <= end)) return 'aperture';
      if (count >= limits.maxMappings) return 'too-many-mappings';
    }
    return undefined;
  }

  /** Ranges in which a host may differ from {@link expected}, because the guest has not invalidated its changes there. */
  outdated(requester: RequesterId): readonly Span[] {
    const view = this.view(requester);
    return typeof view === 'string' ? [] : view.outdated;
  }

  /** Whether `page` has led `requester` to RAM all the time since it was last invalidated. */
  alwaysMapped(requester: RequesterId, page: number): boolean {
    const view = this.view(requester);
    if (typeof view === 'string' || (page >= INTERRUPTS.start && page < INTERRUPTS.end)) return false;
    return [view.at(page), ...view.before(page)].every((leaf) => {
      const region = leaf === undefined ? undefined : ramAt(this.memory, leaf.target + (page - leaf.iova));
      return region !== undefined && accessOf(region, leaf?.access ?? 0) !== 0;
    });
  }

  /**
   * Whether the guest lets `requester` have all of `mapping`, or did so until a change whose confirmation it has not
   * seen yet.
   */
  allows(requester: RequesterId, mapping: HostMapping): boolean {
    const end = mapping.iova + mapping.pages;
    let page = mapping.iova;
    while (page < end) {
      const reach = this.#reach(requester, mapping, page);
      if (reach === undefined) return false;
      page = reach;
    }
    return true;
  }

  /** Where a run ends that begins at `page` and leads where `mapping` leads; undefined when there is none. */
  #reach(requester: RequesterId, mapping: HostMapping, page: number): number | undefined {
    if (page >= INTERRUPTS.start && page < INTERRUPTS.end) return undefined;
    const limit = page < INTERRUPTS.start ? INTERRUPTS.start : Number.POSITIVE_INFINITY;
    const within = page - mapping.iova;
    const target = mapping.target + within;
    for (const leaf of this.#leavesAt(requester, page)) {
      if (leaf.target + (page - leaf.iova) !== target) continue;
      for (const map of this.#memory.all) {
        const region = ramAt(map, target);
        if (region === undefined || accessOf(region, leaf.access) !== mapping.access) continue;
        const { block, page: ramPage } = mapping.ram;
        if (region.block !== block || ramPage + within !== target - region.start) continue;
        return Math.min(leaf.iova + leaf.pages, page + (region.start + region.pages - target), limit);
      }
    }
    return undefined;
  }

  *#leavesAt(requester: RequesterId, page: number): Iterable<NaiveLeaf> {
    const views = new Set(
      this.#translating.all.flatMap((on) => (on ? this.#of(requester).all : (['memory'] as const))),
    );
    for (const view of views) {
      if (view === 'memory') yield { iova: page, pages: 2 ** 52 - page, target: page, access: 3 };
      if (typeof view === 'string') continue;
      const now = view.at(page);
      if (now !== undefined) yield now;
      for (const leaf of view.before(page)) if (leaf !== undefined) yield leaf;
    }
  }

  /** RAM as it lies, each region cut inward to whole pages of the host. */
  #memoryFor({ granule }: NaiveHostLimits): Mapping[] {
    return this.memory
      .filter(({ kind }) => kind !== 'device')
      .map((region) => {
        const from = Math.ceil(region.start / granule) * granule;
        const to = Math.floor((region.start + region.pages) / granule) * granule;
        const aligned = (from - region.start) % granule === 0;
        const pages = aligned ? to - from : 0;
        return { iova: from, pages, target: from, access: accessOf(region, 3) as Access };
      })
      .filter(({ pages }) => pages > 0)
      .toSorted((a, b) => a.iova - b.iova);
  }

  #tablesFor(domain: NaiveDomain, { granule }: NaiveHostLimits): Mapping[] {
    const cropped = domain.effective.flatMap((leaf) => aroundInterrupts(leaf));
    return coarsen(cropped, granule).flatMap((leaf) => this.#onRam(leaf));
  }

  /** The parts of a leaf that lead to RAM, one for each region that it leads to. */
  #onRam({ iova, pages, target, access }: NaiveLeaf): Mapping[] {
    return this.memory
      .filter(({ kind }) => kind !== 'device')
      .toSorted((a, b) => a.start - b.start)
      .flatMap((region) => {
        const from = Math.max(target, region.start);
        const to = Math.min(target + pages, region.start + region.pages);
        const allowed = accessOf(region, access) as Access;
        if (from >= to || allowed === 0) return [];
        return [{ iova: iova + (from - target), pages: to - from, target: from, access: allowed }];
      });
  }

  #of(requester: RequesterId): Settling<NaiveView> {
    let settling = this.#attached.get(requester);
    if (settling === undefined) {
      settling = new Settling<NaiveView>('nothing');
      this.#attached.set(requester, settling);
    }
    return settling;
  }
}

/** Leaves that together are one aligned page of a host with pages of `granule` become one; `leaves` ascend. */
function coarsen(leaves: readonly NaiveLeaf[], granule: number): NaiveLeaf[] {
  const groups = new Map<number, NaiveLeaf[]>();
  for (const leaf of leaves) {
    const key = Math.floor(leaf.iova / granule);
    groups.set(key, [...(groups.get(key) ?? []), leaf]);
  }
  return [...groups.values()].flatMap((group) => {
    const first = group[0] as NaiveLeaf;
    const whole =
      group.reduce((sum, { pages }) => sum + pages, 0) === granule &&
      first.iova % granule === 0 &&
      first.target % granule === 0 &&
      group.every(
        ({ iova, target, access }) => target - iova === first.target - first.iova && access === first.access,
      );
    return whole ? [{ ...first, pages: granule }] : group;
  });
}
