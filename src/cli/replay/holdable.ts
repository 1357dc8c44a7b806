import type { Mapping } from '../../iommu/index.ts';
import { type FlatView, type PageRange, RamRegion } from '../../memory/index.ts';

/** What listings, replays and walks of a capture have in common; a map of something that is not RAM has no target. */
export interface ListedMapping extends Omit<Mapping, 'target'> {
  readonly target: number | undefined;
}

/**
 * What of a listing a host can hold: nothing in the range of interrupts, if there is one, for it is not translated, and
 * mappings of RAM alone, each within one run of it.
 */
export function* holdable(
  listing: Iterable<ListedMapping>,
  memory: FlatView,
  interrupts: PageRange | undefined,
): Iterable<Mapping> {
  for (const { iova, pages, target, access } of listing) {
    if (target === undefined) continue;
    for (const part of without({ start: iova, end: iova + pages }, interrupts)) {
      const shift = target - iova;
      for (const section of memory.overlapping({ start: part.start + shift, end: part.end + shift })) {
        if (!(section.region instanceof RamRegion)) continue;
        const start = Math.max(part.start + shift, section.start);
        const end = Math.min(part.end + shift, section.end);
        yield { iova: start - shift, pages: end - start, target: start, access };
      }
    }
  }
}

function without({ start, end }: PageRange, hole: PageRange | undefined): PageRange[] {
  if (hole === undefined) return [{ start, end }];
  const parts = [
    { start, end: Math.min(end, hole.start) },
    { start: Math.max(start, hole.end), end },
  ];
  return parts.filter((part) => part.start < part.end);
}
