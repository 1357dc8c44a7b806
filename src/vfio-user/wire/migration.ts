/** Migration: the data of its features, and the messages that carry a device's state. @module */
import {
  accept,
  type Codec,
  type Decoded,
  emptyPayload,
  refuse,
  refuseArgsz,
  refuseLength,
  viewOf,
} from './codec.ts';
import { LARGEST_DATA_XFER_SIZE } from './limits.ts';

const FEATURE_BYTES = 8;
const FLAG_STOP_COPY = 1n;
const FLAG_P2P = 2n;
const FLAG_PRE_COPY = 4n;
const FLAGS = FLAG_STOP_COPY | FLAG_P2P | FLAG_PRE_COPY;
const DATA_BYTES = 8;

/** States of a device that migrates. Source: vfio-user, "VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE". */
export const MigrationState = {
  ERROR: 0,
  STOP: 1,
  RUNNING: 2,
  STOP_COPY: 3,
  RESUMING: 4,
  RUNNING_P2P: 5,
  PRE_COPY: 6,
  PRE_COPY_P2P: 7,
} as const;

/** How a device can migrate. Source: vfio-user, "VFIO_DEVICE_FEATURE_MIGRATION". */
export interface MigrationSupport {
  readonly stopCopy: boolean;
  readonly p2p: boolean;
  readonly preCopy: boolean;
}

/** A state that a device is in or is to enter. */
export interface MigrationDeviceState {
  /** One of {@link MigrationState}. */
  readonly state: number;
}

/** Data of the reply when MIGRATION is got; the request has none. */
export const migrationSupport: Codec<MigrationSupport> = {
  encode(value) {
    const bytes = new Uint8Array(FEATURE_BYTES);
    const flags =
      (value.stopCopy ? FLAG_STOP_COPY : 0n) |
      (value.p2p ? FLAG_P2P : 0n) |
      (value.preCopy ? FLAG_PRE_COPY : 0n);
    viewOf(bytes).setBigUint64(0, flags, true);
    return bytes;
  },
  decode(bytes) {
    if (bytes.length !== FEATURE_BYTES)
      return refuse(`MIGRATION: ${bytes.length} bytes, must be ${FEATURE_BYTES}`);
    const flags = viewOf(bytes).getBigUint64(0, true);
    if ((flags & ~FLAGS) !== 0n)
      return refuse(`MIGRATION: flags are 0x${flags.toString(16)}, which have no meaning`);
    return accept({
      stopCopy: (flags & FLAG_STOP_COPY) !== 0n,
      p2p: (flags & FLAG_P2P) !== 0n,
      preCopy: (flags & FLAG_PRE_COPY) !== 0n,
    });
  },
};

/** Data of MIG_DEVICE_STATE. Its field `data_fd` is not used by vfio-user: written as 0 and ignored. */
export const migrationDeviceState: Codec<MigrationDeviceState> = {
  encode(value) {
    const bytes = new Uint8Array(FEATURE_BYTES);
    viewOf(bytes).setUint32(0, value.state, true);
    return bytes;
  },
  decode(bytes) {
    if (bytes.length !== FEATURE_BYTES) {
      return refuse(`MIG_DEVICE_STATE: ${bytes.length} bytes, must be ${FEATURE_BYTES}`);
    }
    const state = viewOf(bytes).getUint32(0, true);
    if (state > MigrationState.PRE_COPY_P2P) return refuse(`MIG_DEVICE_STATE: there is no state ${state}`);
    return accept({ state });
  },
};

/** How much of a device's state is wanted. Source: vfio-user, "VFIO_USER_MIG_DATA_READ". */
export interface MigDataRequest {
  /** Bytes of reply payload that the client has room for, at least 8 + `size`. */
  readonly argsz: number;
  /** Bytes wanted, at most {@link LARGEST_DATA_XFER_SIZE}. */
  readonly size: number;
}

/** A part of a device's state. Source: vfio-user, "VFIO_USER_MIG_DATA_READ" and "VFIO_USER_MIG_DATA_WRITE". */
export interface MigData {
  /** At most {@link LARGEST_DATA_XFER_SIZE} bytes; fewer than were asked for: there is no more. */
  readonly data: Uint8Array;
}

/** MIG_DATA_READ. */
export const migDataReadRequest: Codec<MigDataRequest> = {
  encode(value) {
    const bytes = new Uint8Array(DATA_BYTES);
    const view = viewOf(bytes);
    view.setUint32(0, value.argsz, true);
    view.setUint32(4, value.size, true);
    return bytes;
  },
  decode: (bytes) => decodeSizes('MIG_DATA_READ', bytes),
};

/** The reply to MIG_DATA_READ. */
export const migDataReadReply: Codec<MigData> = {
  encode: encodeData,
  decode: (bytes) => decodeData('MIG_DATA_READ reply', bytes),
};

/** MIG_DATA_WRITE. */
export const migDataWriteRequest: Codec<MigData> = {
  encode: encodeData,
  decode: (bytes) => decodeData('MIG_DATA_WRITE', bytes),
};

/** The reply to MIG_DATA_WRITE, which has no payload. */
export const migDataWriteReply: Codec<undefined> = emptyPayload;

function encodeData({ data }: MigData): Uint8Array {
  const bytes = new Uint8Array(DATA_BYTES + data.length);
  const view = viewOf(bytes);
  view.setUint32(0, bytes.length, true);
  view.setUint32(4, data.length, true);
  bytes.set(data, DATA_BYTES);
  return bytes;
}

function decodeData(what: string, bytes: Uint8Array): Decoded<MigData> {
  const sizes = decodeSizes(what, bytes);
  if (!sizes.ok) return sizes;
  const end = DATA_BYTES + sizes.value.size;
  if (bytes.length < end) return refuseLength(what, bytes, end);
  return accept({ data: bytes.subarray(DATA_BYTES, end) });
}

function decodeSizes(what: string, bytes: Uint8Array): Decoded<MigDataRequest> {
  if (bytes.length < DATA_BYTES) return refuseLength(what, bytes, DATA_BYTES);
  const view = viewOf(bytes);
  const argsz = view.getUint32(0, true);
  const size = view.getUint32(4, true);
  if (size > LARGEST_DATA_XFER_SIZE) {
    return refuse(`${what}: size is ${size}, must be at most ${LARGEST_DATA_XFER_SIZE}`);
  }
  return argsz < DATA_BYTES + size ? refuseArgsz(what, argsz, DATA_BYTES + size) : accept({ argsz, size });
}
