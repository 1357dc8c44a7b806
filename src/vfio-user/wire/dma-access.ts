import { accept, type Codec, type Decoded, refuse, refuseLength, viewOf } from './codec.ts';
import { ADDRESS_END, LARGEST_DATA_XFER_SIZE } from './limits.ts';

const BYTES = 16;
/** The specification's table gives the count of a DMA_WRITE reply 4 bytes. */
const SHORT_REPLY_BYTES = 12;

/** Bytes of guest memory. Source: vfio-user, "VFIO_USER_DMA_READ" and "VFIO_USER_DMA_WRITE". */
export interface DmaAccess {
  /** First DMA address; `address + count` does not exceed 2^64. */
  readonly address: bigint;
  /** Bytes, at most {@link LARGEST_DATA_XFER_SIZE}. */
  readonly count: bigint;
}

/** Bytes of guest memory, with what is in them. An encoder takes the length of `data` for `count`. */
export interface DmaData extends DmaAccess {
  /** `count` bytes. */
  readonly data: Uint8Array;
}

function encodeAccess(value: DmaAccess): Uint8Array {
  const bytes = new Uint8Array(BYTES);
  const view = viewOf(bytes);
  view.setBigUint64(0, value.address, true);
  view.setBigUint64(8, value.count, true);
  return bytes;
}

function encodeData(value: DmaData): Uint8Array {
  const bytes = new Uint8Array(BYTES + value.data.length);
  const view = viewOf(bytes);
  view.setBigUint64(0, value.address, true);
  view.setUint32(8, value.data.length, true);
  bytes.set(value.data, BYTES);
  return bytes;
}

function decodeAccess(what: string, bytes: Uint8Array): Decoded<DmaAccess> {
  if (bytes.length < BYTES) return refuseLength(what, bytes, BYTES);
  if (bytes.length > BYTES) return refuse(`${what}: ${bytes.length} bytes, must be ${BYTES}`);
  const view = viewOf(bytes);
  return checkedAccess(what, view.getBigUint64(0, true), view.getBigUint64(8, true));
}

function checkedAccess(what: string, address: bigint, count: bigint): Decoded<DmaAccess> {
  if (count > LARGEST_DATA_XFER_SIZE) {
    return refuse(`${what}: count is ${count}, must be at most ${LARGEST_DATA_XFER_SIZE}`);
  }
  if (address + count > ADDRESS_END) return refuse(`${what}: address and count go beyond 2^64`);
  return accept({ address, count });
}

function decodeData(what: string, bytes: Uint8Array): Decoded<DmaData> {
  if (bytes.length < BYTES) return refuseLength(what, bytes, BYTES);
  const view = viewOf(bytes);
  const address = view.getBigUint64(0, true);
  const count = view.getBigUint64(8, true);
  if (count !== BigInt(bytes.length - BYTES)) {
    return refuse(`${what}: count is ${count}, but ${bytes.length - BYTES} bytes of data came`);
  }
  const access = checkedAccess(what, address, count);
  return access.ok ? accept({ address, count, data: bytes.subarray(BYTES) }) : access;
}

/** DMA_READ. */
export const dmaReadRequest: Codec<DmaAccess> = {
  encode: encodeAccess,
  decode: (bytes) => decodeAccess('DMA_READ', bytes),
};

/** The reply to DMA_READ. */
export const dmaReadReply: Codec<DmaData> = {
  encode: encodeData,
  decode: (bytes) => decodeData('DMA_READ reply', bytes),
};

/** DMA_WRITE. */
export const dmaWriteRequest: Codec<DmaData> = {
  encode: encodeData,
  decode: (bytes) => decodeData('DMA_WRITE', bytes),
};

/**
 * The reply to DMA_WRITE: 16 bytes, as QEMU and libvfio-user have it. 12, as in the specification's table, and none,
 * which is undefined, are understood too.
 */
export const dmaWriteReply: Codec<DmaAccess | undefined> = {
  encode: (value) => (value === undefined ? new Uint8Array(0) : encodeAccess(value)),
  decode(bytes) {
    if (bytes.length === 0) return accept(undefined);
    if (bytes.length !== SHORT_REPLY_BYTES) return decodeAccess('DMA_WRITE reply', bytes);
    const view = viewOf(bytes);
    return checkedAccess('DMA_WRITE reply', view.getBigUint64(0, true), BigInt(view.getUint32(8, true)));
  },
};
