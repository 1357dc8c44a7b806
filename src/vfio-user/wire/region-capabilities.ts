/** The list of capabilities behind a region's information. Source: vfio-user, "VFIO region capabilities". @module */
import { accept, type Decoded, refuse } from './codec.ts';

const HEADER = 8;
const SPARSE_FIXED = 16;
const AREA = 16;
const ID_SPARSE_MMAP = 1;
const SPARSE_VERSION = 1;

/** A part of a region that can be mapped. */
export interface SparseArea {
  /** From the beginning of the region. */
  readonly offset: bigint;
  /** Bytes; the area lies within the region. */
  readonly size: bigint;
}

/** Bytes of the capability with `areas` areas. */
export function sparseBytes(areas: number): number {
  return SPARSE_FIXED + areas * AREA;
}

/** Writes the capability at `at`, as the last of the list. */
export function encodeSparse(view: DataView, at: number, areas: readonly SparseArea[]): void {
  view.setUint16(at, ID_SPARSE_MMAP, true);
  view.setUint16(at + 2, SPARSE_VERSION, true);
  view.setUint32(at + HEADER, areas.length, true);
  areas.forEach((area, i) => {
    view.setBigUint64(at + SPARSE_FIXED + i * AREA, area.offset, true);
    view.setBigUint64(at + SPARSE_FIXED + i * AREA + 8, area.size, true);
  });
}

/**
 * The sparse areas in the list of capabilities that begins at `first`; undefined when it has none. `least` is where
 * capabilities may begin. The list must ascend, as every known server writes it, so that it ends.
 */
export function decodeSparse(
  view: DataView,
  list: { readonly first: number; readonly least: number; readonly regionSize: bigint },
): Decoded<readonly SparseArea[] | undefined> {
  let least = list.least;
  let areas: readonly SparseArea[] | undefined;
  for (let at = list.first; at !== 0; at = view.getUint32(at + 4, true)) {
    if (at < least || at + HEADER > view.byteLength) {
      return refuse(`region capability at ${at}, must be from ${least} to ${view.byteLength - HEADER}`);
    }
    least = at + HEADER;
    if (view.getUint16(at, true) !== ID_SPARSE_MMAP) continue;
    if (areas !== undefined) return refuse('region with two sparse mmap capabilities');
    const decoded = decodeAreas(view, at, list.regionSize);
    if (!decoded.ok) return decoded;
    areas = decoded.value;
  }
  return accept(areas);
}

function decodeAreas(view: DataView, at: number, regionSize: bigint): Decoded<readonly SparseArea[]> {
  const version = view.getUint16(at + 2, true);
  if (version !== SPARSE_VERSION) return refuse(`sparse mmap capability of version ${version}, must be 1`);
  if (at + SPARSE_FIXED > view.byteLength)
    return refuse('sparse mmap capability beyond the end of the reply');
  const count = view.getUint32(at + HEADER, true);
  if (at + sparseBytes(count) > view.byteLength) {
    return refuse(`sparse mmap capability with ${count} areas, which end beyond the reply`);
  }
  const areas: SparseArea[] = [];
  for (let i = 0; i < count; i++) {
    const offset = view.getBigUint64(at + SPARSE_FIXED + i * AREA, true);
    const size = view.getBigUint64(at + SPARSE_FIXED + i * AREA + 8, true);
    if (offset + size > regionSize) return refuse('sparse mmap area beyond the end of its region');
    areas.push({ offset, size });
  }
  return accept(areas);
}
