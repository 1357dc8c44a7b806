/** What a sink should hold, worked out page by page. @module */
import type { NaiveGuest, NaiveLeaf } from './naive-guest.ts';
import type { NaivePlace } from './naive-memory.ts';

/** What a sink holds: a mapping, whether it is RAM that the access fits, and the leaf that it is a piece of. */
export interface NaivePiece extends NaiveLeaf {
  readonly ram: boolean;
  readonly leafStart: number;
  readonly leafEnd: number;
}

/** What a sink asked for. */
export interface NaiveWish {
  readonly start: number;
  readonly end: number;
  /** Pages, a power of two. */
  readonly granule: number;
  readonly isWrite: boolean;
}

/** Everything that a sink with this wish should hold when it and the guest agree. */
export function desired(guest: NaiveGuest, places: readonly NaivePlace[], wish: NaiveWish): NaivePiece[] {
  const leaves = guest
    .leaves()
    .filter(({ access }) => !wish.isWrite || (access & 2) !== 0)
    .map((leaf) => crop(leaf, wish.start, wish.end))
    .filter(({ pages }) => pages > 0);
  return coarsen(leaves, wish.granule).flatMap((leaf) => onPlaces(leaf, places, wish.isWrite));
}

/**
 * The range that a sink is right about after it heard that `range` may have changed: grown to whole granules, to the
 * guest's leaves and to the leaves of what the sink held before, until nothing is cut.
 */
export function widened(
  range: { readonly start: number; readonly end: number },
  guest: NaiveGuest,
  held: readonly NaivePiece[],
  wish: NaiveWish,
): { start: number; end: number } {
  let start = Math.max(range.start, wish.start);
  let end = Math.min(range.end, wish.end);
  if (start >= end) return { start, end: start };
  const told = held.map(({ leafStart, leafEnd }) => ({ iova: leafStart, pages: leafEnd - leafStart }));
  const blocks = [...guest.leaves(), ...told];
  for (;;) {
    const cut = blocks.filter(({ iova, pages }) => iova < end && iova + pages > start);
    const low = Math.min(start, ...cut.map(({ iova }) => iova));
    const high = Math.max(end, ...cut.map(({ iova, pages }) => iova + pages));
    const from = Math.max(wish.start, Math.floor(low / wish.granule) * wish.granule);
    const to = Math.min(wish.end, Math.ceil(high / wish.granule) * wish.granule);
    if (from === start && to === end) return { start, end };
    start = from;
    end = to;
  }
}

function crop(leaf: NaiveLeaf, start: number, end: number): NaiveLeaf {
  const from = Math.max(leaf.iova, start);
  const to = Math.min(leaf.iova + leaf.pages, end);
  return { ...leaf, iova: from, pages: to - from, target: leaf.target + (from - leaf.iova) };
}

/** Leaves that together are one aligned granule become one. */
function coarsen(leaves: readonly NaiveLeaf[], granule: number): NaiveLeaf[] {
  const result: NaiveLeaf[] = [];
  const byGranule = new Map<number, NaiveLeaf[]>();
  for (const leaf of leaves) {
    const first = Math.floor(leaf.iova / granule);
    const within = first === Math.floor((leaf.iova + leaf.pages - 1) / granule);
    if (within) byGranule.set(first, [...(byGranule.get(first) ?? []), leaf]);
    else result.push(leaf);
  }
  for (const [index, group] of byGranule) {
    const first = group[0];
    const total = group.reduce((sum, { pages }) => sum + pages, 0);
    const straight = group.every(
      ({ iova, target, access }) => target - iova === first.target - first.iova && access === first.access,
    );
    const whole = total === granule && straight && first.target % granule === 0;
    if (whole) result.push({ ...first, iova: index * granule, pages: granule });
    else result.push(...group);
  }
  return result.toSorted((a, b) => a.iova - b.iova);
}

/** A leaf cut where the memory behind it becomes something else. */
function onPlaces(leaf: NaiveLeaf, places: readonly NaivePlace[], isWrite: boolean): NaivePiece[] {
  const pieces: NaivePiece[] = [];
  let key = '';
  for (let i = 0; i < leaf.pages; i++) {
    const place = places[leaf.target + i] ?? { kind: 'hole', section: 'hole' };
    const isMemory = place.kind === 'ram' || place.kind === 'rom';
    const keyHere = isMemory ? place.section : '';
    const last = pieces.at(-1);
    if (last !== undefined && keyHere === key) {
      pieces[pieces.length - 1] = { ...last, pages: last.pages + 1 };
      continue;
    }
    key = keyHere;
    const possible = isMemory ? leaf.access & (place.kind === 'rom' ? 1 : 3) : 0;
    const ram = isWrite ? (possible & 2) !== 0 : possible !== 0;
    pieces.push({
      iova: leaf.iova + i,
      pages: 1,
      target: leaf.target + i,
      access: ram ? possible : leaf.access,
      ram,
      leafStart: leaf.iova,
      leafEnd: leaf.iova + leaf.pages,
    });
  }
  return pieces;
}
