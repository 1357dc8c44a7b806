/** Guest-physical memory as the reference knows it: a list of regions that do not overlap. @module */
import type { RamBlock } from '../../../src/memory/index.ts';

/** A region; one that is replaced by another with the same name has another block. */
export interface NaiveRegion {
  readonly name: string;
  readonly kind: 'ram' | 'rom' | 'device';
  readonly start: number;
  readonly pages: number;
  /** undefined for a device. */
  readonly block: RamBlock | undefined;
}

/** What lies where at one moment. */
export type NaiveMemoryMap = readonly NaiveRegion[];

/** RAM or ROM at `page`. */
export function ramAt(map: NaiveMemoryMap, page: number): NaiveRegion | undefined {
  return map.find(({ kind, start, pages }) => kind !== 'device' && page >= start && page < start + pages);
}

/** What a region leaves of an access. */
export function accessOf(region: NaiveRegion, access: number): number {
  return region.kind === 'rom' ? access & 1 : access;
}
