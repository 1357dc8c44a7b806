/** The split virtqueue (virtio 1.3, 2.7). All fields are little-endian. @module */

/** Most entries of a queue; a size is a power of two (2.7). */
export const QUEUE_SIZE_MAX = 32_768;

/** Alignment in bytes of the three parts (2.7). */
export const DESC_ALIGN = 16;
export const AVAIL_ALIGN = 2;
export const USED_ALIGN = 4;

/** struct virtq_desc (2.7.5): bytes, and the offsets of its fields. */
export const DESC_BYTES = 16;
export const DESC_ADDR = 0;
export const DESC_LEN = 8;
export const DESC_FLAGS = 12;
export const DESC_NEXT = 14;

/** `flags` of a descriptor: the buffer goes on in descriptor `next`. */
export const DESC_F_NEXT = 1;
/** The device writes this part, and does not read it. */
export const DESC_F_WRITE = 2;
/** The part is a table of descriptors (2.7.5.3). */
export const DESC_F_INDIRECT = 4;

/** struct virtq_avail (2.7.6): offsets of its fields; `used_event` is behind the ring. */
export const AVAIL_FLAGS = 0;
export const AVAIL_IDX = 2;
export const AVAIL_RING = 4;
/** Bytes of an entry of its ring. */
export const AVAIL_ENTRY_BYTES = 2;
/** `flags`: the driver wants no used buffer notifications. */
export const AVAIL_F_NO_INTERRUPT = 1;

/** struct virtq_used (2.7.8): offsets of its fields; `avail_event` is behind the ring. */
export const USED_FLAGS = 0;
export const USED_IDX = 2;
export const USED_RING = 4;
/** struct virtq_used_elem: bytes, and the offsets of its fields. */
export const USED_ELEM_BYTES = 8;
export const USED_ELEM_ID = 0;
export const USED_ELEM_LEN = 4;
/** `flags`: the device wants no available buffer notifications. */
export const USED_F_NO_NOTIFY = 1;

/** Bytes of each part of a queue of `size` entries (2.7). */
export function queueBytes(size: number): {
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
} {
  return { desc: 16 * size, avail: 6 + 2 * size, used: 6 + 8 * size };
}

/** One descriptor. */
export interface Descriptor {
  /** Guest-physical byte address. */
  readonly addr: bigint;
  /** Bytes. */
  readonly len: number;
  readonly flags: number;
  readonly next: number;
}

/** The 16 bytes of a descriptor. */
export function encodeDescriptor(descriptor: Descriptor): Uint8Array {
  const bytes = new Uint8Array(DESC_BYTES);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(DESC_ADDR, descriptor.addr, true);
  view.setUint32(DESC_LEN, descriptor.len, true);
  view.setUint16(DESC_FLAGS, descriptor.flags, true);
  view.setUint16(DESC_NEXT, descriptor.next, true);
  return bytes;
}

/** The descriptor in the 16 bytes that `bytes` begins with (RangeError when they are fewer). */
export function decodeDescriptor(bytes: Uint8Array): Descriptor {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    addr: view.getBigUint64(DESC_ADDR, true),
    len: view.getUint32(DESC_LEN, true),
    flags: view.getUint16(DESC_FLAGS, true),
    next: view.getUint16(DESC_NEXT, true),
  };
}
