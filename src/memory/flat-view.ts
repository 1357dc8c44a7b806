/** The region tree flattened: disjoint sections in ascending order. @module */
import { type PageRange, PAGES_END } from './pages.ts';
import { type PageCursor } from './ram-block.ts';
import { AliasRegion, ContainerRegion, type MemoryRegion } from './region.ts';
import { RamRegion } from './terminal-regions.ts';

/** Pages `start` to `end` of an address space, which lie at page `offset` of one terminal region. */
export interface MemorySection extends PageRange {
  readonly region: MemoryRegion;
  /** Page of `region` at which `start` lies. */
  readonly offset: number;
}

/** Whether two sections show the same pages of the same region at the same place. */
export function sameSection(a: MemorySection, b: MemorySection): boolean {
  return a.start === b.start && a.end === b.end && a.region === b.region && a.offset === b.offset;
}

/** An immutable flattening of a region tree. */
export class FlatView {
  /** Disjoint, ascending; neighbours that continue one region are one section. */
  readonly sections: readonly MemorySection[];

  constructor(root: MemoryRegion) {
    const sections: MemorySection[] = [];
    render(sections, root, 0, { start: 0, end: PAGES_END });
    this.sections = joinNeighbours(sections);
  }

  /** The section that holds `page`, or undefined in a hole. */
  find(page: number): MemorySection | undefined {
    const section = this.sections[this.#indexOf(page)];
    return section !== undefined && section.start <= page ? section : undefined;
  }

  /** The sections that overlap `range`, ascending, whole. */
  *overlapping(range: PageRange): Iterable<MemorySection> {
    for (let i = this.#indexOf(range.start); i < this.sections.length; i++) {
      const section = this.sections[i] as MemorySection;
      if (section.start >= range.end) return;
      yield section;
    }
  }

  /** Points `cursor` at a page of RAM; false, and nothing touched, where there is none or ROM is to be written. */
  locate(page: number, cursor: PageCursor, forWrite: boolean): boolean {
    const section = this.find(page);
    if (section === undefined) return false;
    const region = section.region;
    if (!(region instanceof RamRegion) || (forWrite && region.readonly)) return false;
    region.block.locate(page - section.start + section.offset, cursor, forWrite);
    return true;
  }

  /** Index of the first section that ends after `page`. */
  #indexOf(page: number): number {
    let low = 0;
    let high = this.sections.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.sections[middle] as MemorySection).end <= page) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Shows `region`, whose page 0 lies at `base` (which may be negative behind an alias), within `clip`, below what is shown already. */
function render(sections: MemorySection[], region: MemoryRegion, base: number, clip: PageRange): void {
  if (!region.enabled) return;
  const start = Math.max(clip.start, base);
  const end = Math.min(clip.end, base + region.pages);
  if (start >= end) return;
  const visible = { start, end };
  if (region instanceof ContainerRegion) {
    for (const child of region.children) render(sections, child.region, base + child.start, visible);
  } else if (region instanceof AliasRegion) {
    render(sections, region.target, base - region.offset, visible);
  } else {
    fillGaps(sections, region, base, visible);
  }
}

function fillGaps(sections: MemorySection[], region: MemoryRegion, base: number, visible: PageRange): void {
  let at = sections.findIndex((section) => section.end > visible.start);
  if (at === -1) at = sections.length;
  let next = visible.start;
  while (next < visible.end) {
    const blocker = sections[at];
    const end = Math.min(visible.end, blocker?.start ?? visible.end);
    if (next < end) {
      sections.splice(at, 0, { start: next, end, region, offset: next - base });
      at++;
    }
    if (blocker === undefined) return;
    next = Math.max(next, blocker.end);
    at++;
  }
}

function joinNeighbours(sections: readonly MemorySection[]): MemorySection[] {
  const joined: MemorySection[] = [];
  for (const section of sections) {
    const last = joined.at(-1);
    const continues =
      last !== undefined &&
      last.end === section.start &&
      last.region === section.region &&
      last.offset + (last.end - last.start) === section.offset;
    if (continues) joined[joined.length - 1] = { ...last, end: section.end };
    else joined.push(section);
  }
  return joined;
}
