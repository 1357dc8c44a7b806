import { accept, type Codec, type Decoded, refuseArgsz, refuseFlags, refuseLength, viewOf } from './codec.ts';

const BYTES = 8;
const FEATURE_MASK = 0xffff;
const FLAG_GET = 1 << 16;
const FLAG_SET = 1 << 17;
const FLAG_PROBE = 1 << 18;
const FLAGS = FEATURE_MASK | FLAG_GET | FLAG_SET | FLAG_PROBE;

/** The features that the protocol has. Source: vfio-user, "Device Features". */
export const Feature = {
  MIGRATION: 1,
  MIG_DEVICE_STATE: 2,
  DMA_LOGGING_START: 6,
  DMA_LOGGING_STOP: 7,
  DMA_LOGGING_REPORT: 8,
} as const;

/** A feature that is got, set or probed. Source: vfio-user, "VFIO_USER_DEVICE_FEATURE". */
export interface DeviceFeature {
  /** In a request, bytes of reply payload that the client has room for; in a reply, bytes of its payload. At least 8. */
  readonly argsz: number;
  /** One of {@link Feature}, or a number that is not known here, 0 to 0xffff. */
  readonly feature: number;
  /** At least one of `get`, `set` and `probe`; `get` and `set` together only with `probe`. */
  readonly get: boolean;
  readonly set: boolean;
  /** Only asks whether the feature can be got or set. */
  readonly probe: boolean;
  /** What the feature is about; see the codecs of the features. */
  readonly data: Uint8Array;
}

function encode(value: DeviceFeature): Uint8Array {
  const bytes = new Uint8Array(BYTES + value.data.length);
  const view = viewOf(bytes);
  const flags =
    (value.feature & FEATURE_MASK) |
    (value.get ? FLAG_GET : 0) |
    (value.set ? FLAG_SET : 0) |
    (value.probe ? FLAG_PROBE : 0);
  view.setUint32(0, value.argsz, true);
  view.setUint32(4, flags, true);
  bytes.set(value.data, BYTES);
  return bytes;
}

function decode(what: string, bytes: Uint8Array): Decoded<DeviceFeature> {
  if (bytes.length < BYTES) return refuseLength(what, bytes, BYTES);
  const view = viewOf(bytes);
  const argsz = view.getUint32(0, true);
  if (argsz < BYTES) return refuseArgsz(what, argsz, BYTES);
  const flags = view.getUint32(4, true);
  const get = (flags & FLAG_GET) !== 0;
  const set = (flags & FLAG_SET) !== 0;
  const probe = (flags & FLAG_PROBE) !== 0;
  const nothing = !get && !set && !probe;
  if ((flags & ~FLAGS) !== 0 || nothing || (get && set && !probe)) return refuseFlags(what, flags);
  return accept({ argsz, feature: flags & FEATURE_MASK, get, set, probe, data: bytes.subarray(BYTES) });
}

/** DEVICE_FEATURE. */
export const deviceFeatureRequest: Codec<DeviceFeature> = {
  encode,
  decode: (bytes) => decode('DEVICE_FEATURE', bytes),
};

/** The reply to DEVICE_FEATURE: the request again, when getting with the feature's data. */
export const deviceFeatureReply: Codec<DeviceFeature> = {
  encode,
  decode: (bytes) => decode('DEVICE_FEATURE reply', bytes),
};
