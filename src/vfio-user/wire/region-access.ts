import { accept, type Codec, type Decoded, refuse, refuseLength, viewOf } from './codec.ts';
import { ADDRESS_END, LARGEST_DATA_XFER_SIZE } from './limits.ts';

const BYTES = 16;

/** The regions of a PCI device: what `region` and `index` mean. Source: `linux/vfio.h`, VFIO_PCI_*_REGION_INDEX. */
export const RegionIndex = {
  BAR0: 0,
  BAR1: 1,
  BAR2: 2,
  BAR3: 3,
  BAR4: 4,
  BAR5: 5,
  ROM: 6,
  CONFIG: 7,
  VGA: 8,
} as const;

/** Regions of a PCI device. */
export const PCI_REGIONS = 9;

/** Bytes of one region. Source: vfio-user, "VFIO_USER_REGION_READ" and "VFIO_USER_REGION_WRITE". */
export interface RegionAccess {
  /** From the beginning of the region; `offset + count` does not exceed 2^64. */
  readonly offset: bigint;
  /** The region's index. */
  readonly region: number;
  /** Bytes, at most {@link LARGEST_DATA_XFER_SIZE}. */
  readonly count: number;
}

/** Bytes of one region, with what is in them. An encoder takes the length of `data` for `count`. */
export interface RegionData extends RegionAccess {
  /** `count` bytes. */
  readonly data: Uint8Array;
}

function encodeAccess(value: RegionAccess): Uint8Array {
  return encodeFields(value, value.count, BYTES);
}

function encodeData(value: RegionData): Uint8Array {
  const bytes = encodeFields(value, value.data.length, BYTES + value.data.length);
  bytes.set(value.data, BYTES);
  return bytes;
}

function encodeFields(value: RegionAccess, count: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const view = viewOf(bytes);
  view.setBigUint64(0, value.offset, true);
  view.setUint32(8, value.region, true);
  view.setUint32(12, count, true);
  return bytes;
}

function decodeAccess(what: string, bytes: Uint8Array): Decoded<RegionAccess> {
  if (bytes.length < BYTES) return refuseLength(what, bytes, BYTES);
  if (bytes.length > BYTES) return refuse(`${what}: ${bytes.length} bytes, must be ${BYTES}`);
  const view = viewOf(bytes);
  const offset = view.getBigUint64(0, true);
  const count = view.getUint32(12, true);
  const refused = refuseRange(what, offset, count);
  if (refused !== undefined) return refused;
  return accept({ offset, region: view.getUint32(8, true), count });
}

function decodeData(what: string, bytes: Uint8Array): Decoded<RegionData> {
  if (bytes.length < BYTES) return refuseLength(what, bytes, BYTES);
  const view = viewOf(bytes);
  const offset = view.getBigUint64(0, true);
  const count = view.getUint32(12, true);
  if (bytes.length - BYTES !== count) {
    return refuse(`${what}: count is ${count}, but ${bytes.length - BYTES} bytes of data came`);
  }
  const refused = refuseRange(what, offset, count);
  if (refused !== undefined) return refused;
  return accept({ offset, region: view.getUint32(8, true), count, data: bytes.subarray(BYTES) });
}

function refuseRange(what: string, offset: bigint, count: number): ReturnType<typeof refuse> | undefined {
  if (count > LARGEST_DATA_XFER_SIZE) {
    return refuse(`${what}: count is ${count}, must be at most ${LARGEST_DATA_XFER_SIZE}`);
  }
  if (offset + BigInt(count) > ADDRESS_END) return refuse(`${what}: offset and count go beyond 2^64`);
  return undefined;
}

/** REGION_READ. */
export const regionReadRequest: Codec<RegionAccess> = {
  encode: encodeAccess,
  decode: (bytes) => decodeAccess('REGION_READ', bytes),
};

/** The reply to REGION_READ. */
export const regionReadReply: Codec<RegionData> = {
  encode: encodeData,
  decode: (bytes) => decodeData('REGION_READ reply', bytes),
};

/** REGION_WRITE. */
export const regionWriteRequest: Codec<RegionData> = {
  encode: encodeData,
  decode: (bytes) => decodeData('REGION_WRITE', bytes),
};

/** The reply to REGION_WRITE. */
export const regionWriteReply: Codec<RegionAccess> = {
  encode: encodeAccess,
  decode: (bytes) => decodeAccess('REGION_WRITE reply', bytes),
};
