import { accept, type Codec, refuseArgsz, refuseFlags, refuseLength, viewOf } from './codec.ts';
import { type IndexedRequest, indexedRequest } from './indexed-request.ts';
import { decodeSparse, encodeSparse, type SparseArea, sparseBytes } from './region-capabilities.ts';

const BYTES = 32;
const FLAG_READ = 1;
const FLAG_WRITE = 2;
const FLAG_MMAP = 4;
const FLAG_CAPS = 8;
const FLAGS = FLAG_READ | FLAG_WRITE | FLAG_MMAP | FLAG_CAPS;

/** One region. Source: vfio-user, "VFIO_USER_DEVICE_GET_REGION_INFO". */
export interface RegionInfo {
  /** Bytes of the full reply, at least 32; more than came means: ask again with this much room. See {@link encodeRegionInfo}. */
  readonly argsz: number;
  readonly read: boolean;
  readonly write: boolean;
  /** It can be mapped: the descriptor of its file comes with the reply. */
  readonly mmap: boolean;
  readonly index: number;
  /** Bytes; 0 when there is no such region. */
  readonly size: bigint;
  /** Where the region begins in the descriptor's file: what mmap is called with. Says nothing about reads and writes, which count from 0. */
  readonly offset: bigint;
  /** The only parts that can be mapped; missing: the reply does not limit it to parts. */
  readonly sparse?: readonly SparseArea[];
}

/** DEVICE_GET_REGION_INFO; `index` is the region. */
export const regionInfoRequest: Codec<IndexedRequest> = indexedRequest('DEVICE_GET_REGION_INFO', BYTES);

/** The reply to DEVICE_GET_REGION_INFO. Capabilities other than the sparse areas are skipped. */
export const regionInfoReply: Codec<RegionInfo> = {
  encode(value) {
    const { sparse } = value;
    const bytes = new Uint8Array(BYTES + (sparse === undefined ? 0 : sparseBytes(sparse.length)));
    const view = viewOf(bytes);
    const flags =
      (value.read ? FLAG_READ : 0) |
      (value.write ? FLAG_WRITE : 0) |
      (value.mmap ? FLAG_MMAP : 0) |
      (sparse === undefined ? 0 : FLAG_CAPS);
    view.setUint32(0, value.argsz, true);
    view.setUint32(4, flags, true);
    view.setUint32(8, value.index, true);
    view.setUint32(12, sparse === undefined ? 0 : BYTES, true);
    view.setBigUint64(16, value.size, true);
    view.setBigUint64(24, value.offset, true);
    if (sparse !== undefined) encodeSparse(view, BYTES, sparse);
    return bytes;
  },
  decode(bytes) {
    const what = 'DEVICE_GET_REGION_INFO reply';
    if (bytes.length < BYTES) return refuseLength(what, bytes, BYTES);
    const view = viewOf(bytes);
    const argsz = view.getUint32(0, true);
    if (argsz < BYTES) return refuseArgsz(what, argsz, BYTES);
    const flags = view.getUint32(4, true);
    if ((flags & ~FLAGS) !== 0) return refuseFlags(what, flags);
    const info: RegionInfo = {
      argsz,
      read: (flags & FLAG_READ) !== 0,
      write: (flags & FLAG_WRITE) !== 0,
      mmap: (flags & FLAG_MMAP) !== 0,
      index: view.getUint32(8, true),
      size: view.getBigUint64(16, true),
      offset: view.getBigUint64(24, true),
    };
    const first = view.getUint32(12, true);
    // A server whose capabilities do not fit may set the flag all the same and leave the offset 0, as the kernel does.
    if ((flags & FLAG_CAPS) === 0 || first === 0) return accept(info);
    const sparse = decodeSparse(view, { first, least: BYTES, regionSize: info.size });
    if (!sparse.ok) return sparse;
    return accept(sparse.value === undefined ? info : { ...info, sparse: sparse.value });
  },
};

/**
 * The reply for a client with `room` bytes (the request's `argsz`): all of it when that fits, else the fixed part
 * alone, whose `argsz` says how much room is needed. Source: vfio-user, "Message sizes".
 */
export function encodeRegionInfo(info: Omit<RegionInfo, 'argsz'>, room: number): Uint8Array {
  const { sparse, ...fixed } = info;
  if (sparse === undefined) return regionInfoReply.encode({ ...fixed, argsz: BYTES });
  const argsz = BYTES + sparseBytes(sparse.length);
  return regionInfoReply.encode(argsz <= room ? { ...fixed, argsz, sparse } : { ...fixed, argsz });
}
