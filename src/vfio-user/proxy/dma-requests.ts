/** A VMM's DMA_MAP and DMA_UNMAP as pages. @module */
import { type Access, pageOf, PAGE_SIZE, PAGES_END } from '../../memory/index.ts';
import type { IncomingCommand } from '../command.ts';
import {
  type Decoded,
  type DmaMap,
  dmaMapRequest,
  type DmaUnmap,
  dmaUnmapRequest,
  Errno,
} from '../wire/index.ts';

/** What a DMA_MAP asks for, in pages; the file is still to be recognised. */
export interface AskedMap {
  readonly iova: number;
  readonly pages: number;
  readonly offset: number;
  readonly access: Access;
  readonly shared: boolean;
}

/** What a DMA_UNMAP asks for, in pages. */
export interface AskedUnmap {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  readonly dirtyBitmap: boolean;
}

/** What the bytes of either say, as far as they can be read. */
export interface AskedRange {
  readonly address: bigint;
  readonly size: bigint;
}

/** A DMA_MAP that may be accepted, or the errno when it cannot be. Source: Linux, vfio_dma_do_map. */
export function readMap({ payload, descriptors }: IncomingCommand): AskedMap | number {
  const decoded = dmaMapRequest.decode(payload);
  if (!decoded.ok) return decoded.errno;
  const { read, write, sameFile, offset, address, size } = decoded.value;
  const access = ((read ? 1 : 0) | (write ? 2 : 0)) as Access;
  // What was not agreed on, as the proxy leaves it out of VERSION.
  if (sameFile === true) return Errno.EINVAL;
  if (access === 0 || descriptors.length > 1 || !isWholePages(address, size, offset)) return Errno.EINVAL;
  const shared = descriptors.length === 1;
  return { iova: pageOf(address), pages: pagesIn(size), offset: pageOf(offset), access, shared };
}

/** A DMA_UNMAP that may be accepted, or the errno when it cannot be. Source: Linux, vfio_dma_do_unmap. */
export function readUnmap({ payload, descriptors }: IncomingCommand): AskedUnmap | number {
  const decoded = dmaUnmapRequest.decode(payload);
  if (!decoded.ok) return decoded.errno;
  const { address, size, all, dirtyBitmap } = decoded.value;
  if (descriptors.length > 0 || !isWholePages(address, size)) return Errno.EINVAL;
  const start = pageOf(address);
  return { start, end: all ? PAGES_END : start + pagesIn(size), dirtyBitmap };
}

/** The range that a command names, for people; nothing at 0 when it cannot be read. */
export function rangeOf(op: 'map' | 'unmap', payload: Uint8Array): AskedRange {
  const decoded: Decoded<DmaMap | DmaUnmap> =
    op === 'map' ? dmaMapRequest.decode(payload) : dmaUnmapRequest.decode(payload);
  if (!decoded.ok) return { address: 0n, size: 0n };
  const { address, size } = decoded.value;
  return { address, size: 'all' in decoded.value && decoded.value.all ? 1n << 64n : size };
}

function isWholePages(...numbers: bigint[]): boolean {
  return numbers.every((number) => number % BigInt(PAGE_SIZE) === 0n);
}

function pagesIn(size: bigint): number {
  return Number(size >> 12n);
}
