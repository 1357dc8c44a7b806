/**
 * The region tree: what lies where in an address space, before it is flattened.
 *
 * Regions are whole pages, because nothing smaller can be translated or given to a host IOMMU. A device whose
 * registers are smaller than a page decodes the offset within its page itself.
 *
 * @module
 */
import { type PageRange, formatRange, pageRange } from './pages.ts';
import { throwAll } from './throw-all.ts';

/** Told when the tree below it changed; an address space is one, and so is every region that shows another. */
export interface RegionDependent {
  regionChanged(): void;
}

/** A node of the region tree. Container, RAM, ROM, device, alias and translating regions extend it. */
export abstract class MemoryRegion implements RegionDependent {
  readonly name: string;
  /** Size in pages, 1 to 2^52. */
  readonly pages: number;
  readonly #dependents: Set<RegionDependent> = new Set();
  #enabled = true;

  constructor(name: string, pages: number) {
    if (pages <= 0) throw new RangeError(`region ${name} has ${pages} pages; a region has at least one`);
    pageRange(0, pages);
    this.name = name;
    this.pages = pages;
  }

  /** A disabled region and all below it are absent from every view. */
  get enabled(): boolean {
    return this.#enabled;
  }

  setEnabled(enabled: boolean): void {
    if (this.#enabled === enabled) return;
    this.#enabled = enabled;
    this.regionChanged();
  }

  /** Regions that are shown through this one; used to refuse a tree that contains itself. */
  shows(): Iterable<MemoryRegion> {
    return [];
  }

  /** Climbs to every address space that can see this region. */
  regionChanged(): void {
    const errors: unknown[] = [];
    for (const dependent of this.#dependents) {
      // A listener in one address space that throws must not hide the change from the others.
      try {
        dependent.regionChanged();
      } catch (error) {
        errors.push(error);
      }
    }
    throwAll(errors);
  }

  addDependent(dependent: RegionDependent): void {
    this.#dependents.add(dependent);
  }

  removeDependent(dependent: RegionDependent): void {
    this.#dependents.delete(dependent);
  }
}

/** A region placed in a container. */
export interface Subregion {
  readonly region: MemoryRegion;
  /** First page within the container. */
  readonly start: number;
  /** Where two overlap, the higher priority is seen; among equals, the one added last. */
  readonly priority: number;
}

/** A region that only holds others; pages that none of them covers are holes. */
export class ContainerRegion extends MemoryRegion {
  #children: Subregion[] = [];

  /** Subregions, the one that hides the others first. */
  get children(): readonly Subregion[] {
    return this.#children;
  }

  override *shows(): Iterable<MemoryRegion> {
    for (const child of this.#children) yield child.region;
  }

  /**
   * Places `region` at page `start`. It may reach beyond the container's end, where it is clipped.
   * Throws when it is in this container already, or when the tree would contain itself.
   */
  add(region: MemoryRegion, start: number, priority = 0): void {
    if (this.#children.some((child) => child.region === region)) {
      throw new Error(
        `region ${region.name} is in ${this.name} already; show it twice through an AliasRegion`,
      );
    }
    pageRange(start, 0);
    refuseCycle(this, region);
    const at = this.#children.findIndex((child) => child.priority <= priority);
    this.#children.splice(at === -1 ? this.#children.length : at, 0, { region, start, priority });
    region.addDependent(this);
    this.regionChanged();
  }

  /** Takes `region` out; it stays usable elsewhere. Throws when it is not here. */
  remove(region: MemoryRegion): void {
    const at = this.#children.findIndex((child) => child.region === region);
    if (at === -1) throw new Error(`region ${region.name} is not in ${this.name}`);
    this.#children.splice(at, 1);
    region.removeDependent(this);
    this.regionChanged();
  }
}

/** Shows a part of another region somewhere else. */
export class AliasRegion extends MemoryRegion {
  readonly target: MemoryRegion;
  /** First page within the target. */
  readonly offset: number;

  /** Shows `pages` pages of `target` from page `offset` on; `dispose` ends the tie to the target. */
  constructor(name: string, target: MemoryRegion, offset: number, pages: number) {
    super(name, pages);
    const shown: PageRange = pageRange(offset, pages);
    if (shown.end > target.pages) {
      throw new RangeError(`alias ${name} shows ${formatRange(shown)} of ${target.name}, which is shorter`);
    }
    this.target = target;
    this.offset = offset;
    target.addDependent(this);
  }

  override shows(): Iterable<MemoryRegion> {
    return [this.target];
  }

  /** Ends the tie to the target; the alias must not be in a tree any more. */
  dispose(): void {
    this.target.removeDependent(this);
  }
}

function refuseCycle(container: MemoryRegion, region: MemoryRegion): void {
  const seen = new Set<MemoryRegion>();
  const pending = [region];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (next === container)
      throw new Error(`region ${container.name} would contain itself through ${region.name}`);
    if (seen.has(next)) continue;
    seen.add(next);
    pending.push(...next.shows());
  }
}
