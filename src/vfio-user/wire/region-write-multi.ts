import { accept, type Codec, refuse, refuseLength, viewOf } from './codec.ts';
import { ADDRESS_END } from './limits.ts';
import type { RegionData } from './region-access.ts';

const BYTES = 8;
const WRITE_BYTES = 24;
const DATA_BYTES = 8;

/** Writes in one message. Source: vfio-user, "VFIO_USER_REGION_WRITE_MULTI". */
export interface RegionWriteMulti {
  /** In the order in which they are to be done; each of at most 8 bytes. */
  readonly writes: readonly RegionData[];
}

/** How far several writes got. */
export interface RegionWriteMultiDone {
  /** Writes that were done. */
  readonly completed: number;
}

/** REGION_WRITE_MULTI. Only `count` of the eight bytes of each write are in the value; the encoder writes 0 for the others. */
export const regionWriteMultiRequest: Codec<RegionWriteMulti> = {
  encode({ writes }) {
    const bytes = new Uint8Array(BYTES + writes.length * WRITE_BYTES);
    const view = viewOf(bytes);
    view.setUint32(0, writes.length, true);
    writes.forEach((write, i) => {
      const at = BYTES + i * WRITE_BYTES;
      view.setBigUint64(at, write.offset, true);
      view.setUint32(at + 8, write.region, true);
      view.setUint32(at + 12, write.data.length, true);
      bytes.set(write.data.subarray(0, DATA_BYTES), at + 16);
    });
    return bytes;
  },
  decode(bytes) {
    if (bytes.length < BYTES) return refuseLength('REGION_WRITE_MULTI', bytes, BYTES);
    const view = viewOf(bytes);
    const claimed = view.getBigUint64(0, true);
    const held = (bytes.length - BYTES) / WRITE_BYTES;
    if (!Number.isInteger(held) || claimed !== BigInt(held)) {
      return refuse(`REGION_WRITE_MULTI: ${claimed} writes in ${bytes.length - BYTES} bytes`);
    }
    const writes: RegionData[] = [];
    for (let at = BYTES; at < bytes.length; at += WRITE_BYTES) {
      const offset = view.getBigUint64(at, true);
      const count = view.getUint32(at + 12, true);
      if (count > DATA_BYTES)
        return refuse(`REGION_WRITE_MULTI: a write of ${count} bytes, must be at most 8`);
      if (offset + BigInt(count) > ADDRESS_END) {
        return refuse('REGION_WRITE_MULTI: offset and count go beyond 2^64');
      }
      const data = bytes.subarray(at + 16, at + 16 + count);
      writes.push({ offset, region: view.getUint32(at + 8, true), count, data });
    }
    return accept({ writes });
  },
};

/** The reply to REGION_WRITE_MULTI. */
export const regionWriteMultiReply: Codec<RegionWriteMultiDone> = {
  encode({ completed }) {
    const bytes = new Uint8Array(BYTES);
    viewOf(bytes).setUint32(0, completed, true);
    return bytes;
  },
  decode(bytes) {
    if (bytes.length !== BYTES)
      return refuse(`REGION_WRITE_MULTI reply: ${bytes.length} bytes, must be ${BYTES}`);
    const view = viewOf(bytes);
    if (view.getUint32(4, true) !== 0) return refuse('REGION_WRITE_MULTI reply: 2^32 writes or more');
    return accept({ completed: view.getUint32(0, true) });
  },
};
