/** A region of guest-physical memory as the reference knows it. */
export interface NaiveRegion {
  /** Tells regions apart; a replaced region is another one. */
  readonly id: string;
  readonly kind: 'ram' | 'rom' | 'device';
  readonly start: number;
  readonly pages: number;
  readonly priority: number;
  readonly enabled: boolean;
}

/** What lies at one page. */
export interface NaivePlace {
  readonly kind: 'ram' | 'rom' | 'device' | 'hole';
  /** The same for neighbouring pages of one section only. */
  readonly section: string;
}

/** What is seen at `page`: of all enabled regions there, the one of the highest priority. */
export function placeOf(regions: readonly NaiveRegion[], page: number): NaivePlace {
  const there = regions
    .filter((region) => region.enabled && page >= region.start && page < region.start + region.pages)
    .toSorted((a, b) => b.priority - a.priority)[0];
  if (there === undefined) return { kind: 'hole', section: 'hole' };
  return { kind: there.kind, section: there.id };
}

/** What is seen at each of the pages below `pages`. */
export function placesBelow(regions: readonly NaiveRegion[], pages: number): NaivePlace[] {
  return Array.from({ length: pages }, (_, page) => placeOf(regions, page));
}
