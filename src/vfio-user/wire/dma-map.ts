import { accept, type Codec, refuse, refuseArgsz, refuseFlags, refuseLength } from './codec.ts';
import { ADDRESS_END } from './limits.ts';
import { fieldsOf, fieldsToWrite, written } from './scratch.ts';

const BYTES = 32;
const FLAG_READ = 1;
const FLAG_WRITE = 2;
/** Not the specification's: see {@link DmaMap.sameFile}. */
const FLAG_SAME_FILE = 0x10;
const FLAGS = FLAG_READ | FLAG_WRITE | FLAG_SAME_FILE;

/** Memory that the client lets devices use. Source: vfio-user, "VFIO_USER_DMA_MAP". */
export interface DmaMap {
  readonly read: boolean;
  readonly write: boolean;
  /**
   * No descriptor comes with it: meant is the file of the last one that came with a DMA_MAP on this connection, whether
   * that was accepted or not. An extension, valid only when both sides have said `viommu.same_file` in VERSION; missing
   * is false.
   */
  readonly sameFile?: boolean;
  /** Bytes from the beginning of the descriptor's file; 0 without a descriptor. */
  readonly offset: bigint;
  /** First DMA address. */
  readonly address: bigint;
  /** Bytes, at least 1; neither `address + size` nor `offset + size` exceeds 2^64. */
  readonly size: bigint;
}

/** DMA_MAP, to which the reply has no payload. The descriptor, if any, is not part of the bytes. */
export const dmaMapRequest: Codec<DmaMap> = {
  encode(value) {
    const view = fieldsToWrite();
    view.setUint32(0, BYTES, true);
    const access = (value.read ? FLAG_READ : 0) | (value.write ? FLAG_WRITE : 0);
    view.setUint32(4, access | (value.sameFile === true ? FLAG_SAME_FILE : 0), true);
    view.setBigUint64(8, value.offset, true);
    view.setBigUint64(16, value.address, true);
    view.setBigUint64(24, value.size, true);
    return written(BYTES);
  },
  decode(bytes) {
    if (bytes.length < BYTES) return refuseLength('DMA_MAP', bytes, BYTES);
    const view = fieldsOf(bytes, BYTES);
    const argsz = view.getUint32(0, true);
    if (argsz < BYTES) return refuseArgsz('DMA_MAP', argsz, BYTES);
    const flags = view.getUint32(4, true);
    if ((flags & ~FLAGS) !== 0) return refuseFlags('DMA_MAP', flags);
    const offset = view.getBigUint64(8, true);
    const address = view.getBigUint64(16, true);
    const size = view.getBigUint64(24, true);
    if (size === 0n) return refuse('DMA_MAP: size is 0');
    if (address + size > ADDRESS_END) return refuse('DMA_MAP: address and size go beyond 2^64');
    if (offset + size > ADDRESS_END) return refuse('DMA_MAP: offset and size go beyond 2^64');
    const read = (flags & FLAG_READ) !== 0;
    const write = (flags & FLAG_WRITE) !== 0;
    const isSame = (flags & FLAG_SAME_FILE) !== 0;
    return accept(
      isSame
        ? { read, write, offset, address, size, sameFile: true }
        : { read, write, offset, address, size },
    );
  },
};
