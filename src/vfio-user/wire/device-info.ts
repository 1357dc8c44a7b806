import { accept, type Codec, refuseArgsz, refuseFlags, refuseLength, viewOf } from './codec.ts';

const BYTES = 16;
const FLAG_RESET = 1;
const FLAG_PCI = 2;
const FLAGS = FLAG_RESET | FLAG_PCI;

/** The question what a device is. */
export interface DeviceInfoRequest {
  /** Bytes of reply payload that the client has room for, at least 16. */
  readonly argsz: number;
}

/** What a device is. Source: vfio-user, "VFIO_USER_DEVICE_GET_INFO". */
export interface DeviceInfo {
  /** DEVICE_RESET is supported. */
  readonly reset: boolean;
  /** It is a PCI device, the only kind that the protocol has. */
  readonly pci: boolean;
  /** Regions, which have the indices below this number. */
  readonly regions: number;
  /** Interrupt types, which have the indices below this number. */
  readonly irqs: number;
}

/** DEVICE_GET_INFO. Fields other than `argsz` are written as 0 and ignored. */
export const deviceInfoRequest: Codec<DeviceInfoRequest> = {
  encode(value) {
    const bytes = new Uint8Array(BYTES);
    viewOf(bytes).setUint32(0, value.argsz, true);
    return bytes;
  },
  decode(bytes) {
    if (bytes.length < BYTES) return refuseLength('DEVICE_GET_INFO', bytes, BYTES);
    const argsz = viewOf(bytes).getUint32(0, true);
    return argsz < BYTES ? refuseArgsz('DEVICE_GET_INFO', argsz, BYTES) : accept({ argsz });
  },
};

/** The reply to DEVICE_GET_INFO. */
export const deviceInfoReply: Codec<DeviceInfo> = {
  encode(value) {
    const bytes = new Uint8Array(BYTES);
    const view = viewOf(bytes);
    view.setUint32(0, BYTES, true);
    view.setUint32(4, (value.reset ? FLAG_RESET : 0) | (value.pci ? FLAG_PCI : 0), true);
    view.setUint32(8, value.regions, true);
    view.setUint32(12, value.irqs, true);
    return bytes;
  },
  decode(bytes) {
    if (bytes.length < BYTES) return refuseLength('DEVICE_GET_INFO reply', bytes, BYTES);
    const view = viewOf(bytes);
    const argsz = view.getUint32(0, true);
    if (argsz < BYTES) return refuseArgsz('DEVICE_GET_INFO reply', argsz, BYTES);
    const flags = view.getUint32(4, true);
    if ((flags & ~FLAGS) !== 0) return refuseFlags('DEVICE_GET_INFO reply', flags);
    return accept({
      reset: (flags & FLAG_RESET) !== 0,
      pci: (flags & FLAG_PCI) !== 0,
      regions: view.getUint32(8, true),
      irqs: view.getUint32(12, true),
    });
  },
};
