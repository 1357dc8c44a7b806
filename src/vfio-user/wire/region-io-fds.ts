import {
  accept,
  type Codec,
  type Decoded,
  refuse,
  refuseArgsz,
  refuseFlags,
  refuseLength,
  viewOf,
} from './codec.ts';
import { ADDRESS_END } from './limits.ts';

const BYTES = 16;
const SUB_REGION_BYTES = 40;
/** Bytes of a sub-region from libvfio-user, which puts a field of its own in front of the last one. */
const LONG_SUB_REGION_BYTES = 48;
const TYPES = ['ioeventfd', 'ioregionfd'] as const;

/** The question which parts of a region can be accessed through descriptors. */
export interface RegionIoFdsRequest {
  /** Bytes of reply payload that the client has room for, at least 16. */
  readonly argsz: number;
  /** The region's index. */
  readonly index: number;
}

/** A part of a region that is accessed through a descriptor. Source: vfio-user, "Sub-Region IO FD info format". */
export interface IoSubRegion {
  /** From the beginning of the region; `offset + size` does not exceed 2^64. */
  readonly offset: bigint;
  /** Bytes; 0: any access size. */
  readonly size: bigint;
  /** Which descriptor of the reply. */
  readonly fdIndex: number;
  readonly type: 'ioeventfd' | 'ioregionfd';
  /** KVM's flags, KVM_IOEVENTFD_FLAG_* or KVM_IOREGION_*, as they are. */
  readonly flags: number;
  /** `datamatch` of an ioeventfd, `user_data` of an ioregionfd. */
  readonly data: bigint;
}

/** The parts of a region that are accessed through descriptors. Source: vfio-user, "VFIO_USER_DEVICE_GET_REGION_IO_FDS". */
export interface RegionIoFds {
  /** Bytes of the full reply, at least 16; more than came means: ask again with this much room. See {@link encodeRegionIoFds}. */
  readonly argsz: number;
  /** The region's index. */
  readonly index: number;
  /** Parts that the region has, whether they came or not. */
  readonly count: number;
  /** All of the parts, or none when the client had no room. */
  readonly subRegions: readonly IoSubRegion[];
}

/** DEVICE_GET_REGION_IO_FDS. */
export const regionIoFdsRequest: Codec<RegionIoFdsRequest> = {
  encode(value) {
    const bytes = new Uint8Array(BYTES);
    const view = viewOf(bytes);
    view.setUint32(0, value.argsz, true);
    view.setUint32(8, value.index, true);
    return bytes;
  },
  decode(bytes) {
    const what = 'DEVICE_GET_REGION_IO_FDS';
    if (bytes.length < BYTES) return refuseLength(what, bytes, BYTES);
    const view = viewOf(bytes);
    const argsz = view.getUint32(0, true);
    if (argsz < BYTES) return refuseArgsz(what, argsz, BYTES);
    const flags = view.getUint32(4, true);
    if (flags !== 0) return refuseFlags(what, flags);
    const count = view.getUint32(12, true);
    return count === 0
      ? accept({ argsz, index: view.getUint32(8, true) })
      : refuse(`${what}: count must be 0`);
  },
};

/** The reply to DEVICE_GET_REGION_IO_FDS. */
export const regionIoFdsReply: Codec<RegionIoFds> = {
  encode(value) {
    const bytes = new Uint8Array(BYTES + value.subRegions.length * SUB_REGION_BYTES);
    const view = viewOf(bytes);
    view.setUint32(0, value.argsz, true);
    view.setUint32(8, value.index, true);
    view.setUint32(12, value.count, true);
    value.subRegions.forEach((subRegion, i) => {
      const at = BYTES + i * SUB_REGION_BYTES;
      view.setBigUint64(at, subRegion.offset, true);
      view.setBigUint64(at + 8, subRegion.size, true);
      view.setUint32(at + 16, subRegion.fdIndex, true);
      view.setUint32(at + 20, TYPES.indexOf(subRegion.type), true);
      view.setUint32(at + 24, subRegion.flags, true);
      view.setBigUint64(at + 32, subRegion.data, true);
    });
    return bytes;
  },
  decode(bytes) {
    const what = 'DEVICE_GET_REGION_IO_FDS reply';
    if (bytes.length < BYTES) return refuseLength(what, bytes, BYTES);
    const view = viewOf(bytes);
    const argsz = view.getUint32(0, true);
    if (argsz < BYTES) return refuseArgsz(what, argsz, BYTES);
    const flags = view.getUint32(4, true);
    if (flags !== 0) return refuseFlags(what, flags);
    const index = view.getUint32(8, true);
    const count = view.getUint32(12, true);
    if (bytes.length === BYTES) return accept({ argsz, index, count, subRegions: [] });
    // The specification leaves the size of an entry to be computed from the reply.
    const stride = (bytes.length - BYTES) / count;
    if (stride !== SUB_REGION_BYTES && stride !== LONG_SUB_REGION_BYTES) {
      return refuse(`${what}: ${count} sub-regions in ${bytes.length - BYTES} bytes`);
    }
    const subRegions: IoSubRegion[] = [];
    for (let at = BYTES; at < bytes.length; at += stride) {
      const subRegion = decodeSubRegion(view, at, stride);
      if (!subRegion.ok) return subRegion;
      subRegions.push(subRegion.value);
    }
    return accept({ argsz, index, count, subRegions });
  },
};

/**
 * The reply for a client with `room` bytes (the request's `argsz`): all of it when that fits, else the fixed part
 * alone, whose `argsz` says how much room is needed. Source: vfio-user, "Message sizes".
 */
export function encodeRegionIoFds(
  index: number,
  subRegions: readonly IoSubRegion[],
  room: number,
): Uint8Array {
  const argsz = BYTES + subRegions.length * SUB_REGION_BYTES;
  const sent = argsz <= room ? subRegions : [];
  return regionIoFdsReply.encode({ argsz, index, count: subRegions.length, subRegions: sent });
}

function decodeSubRegion(view: DataView, at: number, stride: number): Decoded<IoSubRegion> {
  const offset = view.getBigUint64(at, true);
  const size = view.getBigUint64(at + 8, true);
  const number = view.getUint32(at + 20, true);
  const type = TYPES[number];
  if (type === undefined) return refuse(`sub-region with a descriptor of type ${number}, which is not known`);
  if (offset + size > ADDRESS_END) return refuse('sub-region that goes beyond 2^64');
  const long = stride === LONG_SUB_REGION_BYTES && type === 'ioeventfd';
  return accept({
    offset,
    size,
    fdIndex: view.getUint32(at + 16, true),
    type,
    flags: view.getUint32(at + 24, true),
    data: view.getBigUint64(at + (long ? 40 : 32), true),
  });
}
