import { accept, type Codec, refuse, refuseArgsz, refuseFlags, refuseLength } from './codec.ts';
import { ADDRESS_END } from './limits.ts';
import { fieldsOf, fieldsToWrite, written } from './scratch.ts';

const BYTES = 24;
const FLAG_GET_DIRTY_BITMAP = 1;
const FLAG_ALL = 2;
const FLAGS = FLAG_GET_DIRTY_BITMAP | FLAG_ALL;

/** Memory that devices may no longer use. Source: vfio-user, "VFIO_USER_DMA_UNMAP"; flags as in `linux/vfio.h`. */
export interface DmaUnmap {
  /** The client wants the bitmap of pages written, VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP. What it says about it is not decoded. */
  readonly dirtyBitmap: boolean;
  /** Everything goes, VFIO_DMA_UNMAP_FLAG_ALL; then address and size are 0. */
  readonly all: boolean;
  readonly address: bigint;
  /** Bytes. In a request at least 1 unless `all`, and `address + size` does not exceed 2^64. */
  readonly size: bigint;
}

function encode(value: DmaUnmap): Uint8Array {
  const view = fieldsToWrite();
  view.setUint32(0, BYTES, true);
  view.setUint32(4, (value.dirtyBitmap ? FLAG_GET_DIRTY_BITMAP : 0) | (value.all ? FLAG_ALL : 0), true);
  view.setBigUint64(8, value.address, true);
  view.setBigUint64(16, value.size, true);
  return written(BYTES);
}

/** DMA_UNMAP. A range that ends exactly at 2^64 is valid: QEMU unmaps everything above an address that way. */
export const dmaUnmapRequest: Codec<DmaUnmap> = {
  encode,
  decode(bytes) {
    if (bytes.length < BYTES) return refuseLength('DMA_UNMAP', bytes, BYTES);
    const view = fieldsOf(bytes, BYTES);
    const argsz = view.getUint32(0, true);
    if (argsz < BYTES) return refuseArgsz('DMA_UNMAP', argsz, BYTES);
    const flags = view.getUint32(4, true);
    if ((flags & ~FLAGS) !== 0 || flags === FLAGS) return refuseFlags('DMA_UNMAP', flags);
    const all = (flags & FLAG_ALL) !== 0;
    const address = view.getBigUint64(8, true);
    const size = view.getBigUint64(16, true);
    if (all && (address !== 0n || size !== 0n)) {
      return refuse('DMA_UNMAP: address and size must be 0 when everything is unmapped');
    }
    if (!all && size === 0n) return refuse('DMA_UNMAP: size is 0');
    if (address + size > ADDRESS_END) return refuse('DMA_UNMAP: address and size go beyond 2^64');
    return accept({ dirtyBitmap: (flags & FLAG_GET_DIRTY_BITMAP) !== 0, all, address, size });
  },
};

/**
 * The reply, which repeats the request. Servers may put the bytes that they unmapped into `size`, as the kernel does:
 * the range is not checked.
 */
export const dmaUnmapReply: Codec<DmaUnmap> = {
  encode,
  decode(bytes) {
    if (bytes.length < BYTES) return refuseLength('DMA_UNMAP reply', bytes, BYTES);
    const view = fieldsOf(bytes, BYTES);
    const argsz = view.getUint32(0, true);
    if (argsz < BYTES) return refuseArgsz('DMA_UNMAP reply', argsz, BYTES);
    const flags = view.getUint32(4, true);
    if ((flags & ~FLAGS) !== 0) return refuseFlags('DMA_UNMAP reply', flags);
    return accept({
      dirtyBitmap: (flags & FLAG_GET_DIRTY_BITMAP) !== 0,
      all: (flags & FLAG_ALL) !== 0,
      address: view.getBigUint64(8, true),
      size: view.getBigUint64(16, true),
    });
  },
};
